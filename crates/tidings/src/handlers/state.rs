//! What handlers share with the rest of the program: clients, pools, settings.

use std::ops::{Deref, DerefMut};

use super::{Context, Early, Extract};

/// A handler's argument: the state that its handlers were given, or a part of it.
///
/// ```
/// use tidings::{Handlers, State};
/// # #[derive(tidings::Event, serde::Serialize, serde::Deserialize)]
/// # #[event(topic = "user.created")]
/// # struct UserCreated {}
/// #[derive(Clone)]
/// struct Mailer;
///
/// async fn welcome(user: UserCreated, State(mailer): State<Mailer>) {}
///
/// let handlers: Handlers = Handlers::new().on(welcome).with_state(Mailer);
/// ```
///
/// Each message gets a clone: keep what is large or changes behind an [`Arc`](std::sync::Arc).
#[derive(Debug, Clone, Copy, Default)]
pub struct State<T>(pub T);

impl<T> Deref for State<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for State<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<S, T> Extract<S> for State<T>
where
    S: Sync,
    T: FromRef<S> + Send + 'static,
{
    async fn extract(_: &mut Context, state: &S) -> Result<Self, Early> {
        Ok(Self(T::from_ref(state)))
    }
}

/// A part of a state, so that one state serves handlers that need different things.
///
/// Every state that can be cloned is a part of itself.
///
/// ```
/// use tidings::{FromRef, Handlers, State};
/// # #[derive(tidings::Event, serde::Serialize, serde::Deserialize)]
/// # #[event(topic = "user.created")]
/// # struct UserCreated {}
/// #[derive(Clone)]
/// struct Mailer;
/// #[derive(Clone)]
/// struct App {
///     mailer: Mailer,
/// }
///
/// impl FromRef<App> for Mailer {
///     fn from_ref(app: &App) -> Self {
///         app.mailer.clone()
///     }
/// }
///
/// async fn welcome(user: UserCreated, State(mailer): State<Mailer>) {}
///
/// let handlers: Handlers = Handlers::new().on(welcome).with_state(App { mailer: Mailer });
/// ```
#[diagnostic::on_unimplemented(
    message = "there is no `{Self}` in the state `{S}`",
    label = "takes a `State<{Self}>`",
    note = "the state is what `.with_state(…)` gives; `()` means that these handlers still wait for theirs",
    note = "where `{Self}` is a part of it, say which: `impl FromRef<{S}> for {Self}`"
)]
pub trait FromRef<S> {
    /// Takes it out of the state.
    fn from_ref(state: &S) -> Self;
}

impl<T: Clone> FromRef<T> for T {
    fn from_ref(state: &T) -> Self {
        state.clone()
    }
}

/// No state: nobody can make one.
///
/// While it might be one, the compiler cannot take a handler's `State<T>` for the whole state of all handlers; so it waits for
/// `with_state` and says there, if at all, what is not in the state.
#[derive(Debug)]
pub enum Undecided {}

#[doc(hidden)]
impl<T> FromRef<Undecided> for T {
    fn from_ref(state: &Undecided) -> Self {
        match *state {}
    }
}
