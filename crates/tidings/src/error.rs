//! The error that a program's `main` returns.

use std::fmt;

use tidings_core::BoxError;

/// What `main` returns: `tidings::Result<()>`.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Any error, on its way out of `main`.
///
/// It converts from whatever implements [`std::error::Error`], and from text. `main` prints an error by `Debug`; this one
/// prints the whole chain of causes in one line. It is not an [`std::error::Error`] itself, as `anyhow::Error` is not.
pub struct Error(BoxError);

impl<E: Into<BoxError>> From<E> for Error {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&chain(&*self.0))
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An error and its causes, joined by `: ` in one line; a cause that its error has said already is not said again.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !line.ends_with(&said) {
            line.push_str(": ");
            line.push_str(&said);
        }
        cause = error.source();
    }
    line.replace(['\r', '\n'], " ")
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("(not text)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn main_prints_the_whole_chain_in_one_line() {
        let error = Error::from(Outer(std::io::Error::other("in\nner")));
        assert_eq!(format!("{error:?}"), "outer: in ner");
    }
}
