//! A handler's arguments besides the event.

use super::{Context, Failure, Meta, Needs};
use crate::Publisher;

/// An argument of a handler, made for each attempt from its [`Context`] and the state `S`.
///
/// There are [`State`](super::State), [`Meta`], [`Publisher`] and `Tx`; yours are made alike:
///
/// ```
/// use tidings::handlers::{Context, Early, Extract};
///
/// /// The language that the publisher asked for.
/// struct Language(String);
///
/// impl<S: Sync> Extract<S> for Language {
///     async fn extract(context: &mut Context, _: &S) -> Result<Self, Early> {
///         Ok(Self(context.message().headers().get("language").unwrap_or("en").to_owned()))
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument of this handler",
    label = "takes a `{Self}` besides its event",
    note = "besides its event a handler takes `State<…>`, `Meta`, `Publisher`, or what implements `tidings::handlers::Extract`"
)]
pub trait Extract<S>: Sized + Send + 'static {
    /// Makes it.
    ///
    /// # Errors
    /// [`Early`], when the handler is not to be called.
    ///
    /// # Cancel safety
    /// The future is dropped when the attempt takes too long or its lease is lost.
    fn extract(context: &mut Context, state: &S) -> impl Future<Output = Result<Self, Early>> + Send;

    /// What it needs of the service, asked once, before the service subscribes.
    #[doc(hidden)]
    fn needs(_state: &S, _needs: &mut Needs) {}
}

/// Why a handler is not called.
#[derive(Debug)]
pub enum Early {
    /// The message was handled before: it is acknowledged.
    Handled,
    /// The attempt failed.
    Failed(Failure),
}

impl<E: Into<Failure>> From<E> for Early {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl<S: Sync> Extract<S> for Meta {
    async fn extract(context: &mut Context, _: &S) -> Result<Self, Early> {
        Ok(Self::of(context))
    }
}

impl<S: Sync> Extract<S> for Publisher {
    async fn extract(context: &mut Context, _: &S) -> Result<Self, Early> {
        Ok(context.publisher())
    }
}
