//! What can be registered: an async function, alone or with options.

use std::marker::PhantomData;

use super::{Options, options::option_methods};

/// An async function, or a closure that returns a future, whose arguments are `A`.
///
/// The first argument is the event (or a [`Message`](crate::Message) for [`Handlers::on_topic`](crate::Handlers::on_topic)), by
/// value; up to eight others are [extractors](super::Extract). It returns nothing, or a `Result<(), E>` with any error.
///
/// Its methods say what differs from the default for this one handler:
///
/// ```
/// use std::time::Duration;
/// use tidings::{Failure, Handler, Handlers, Meta, Order, Retry};
/// # #[derive(tidings::Event, serde::Serialize, serde::Deserialize)]
/// # #[event(topic = "user.created")]
/// # struct UserCreated {}
///
/// async fn welcome(user: UserCreated, meta: Meta) -> Result<(), Failure> {
///     Ok(())
/// }
///
/// let day = Duration::from_secs(24 * 3600);
/// let patient = Retry::exponential(Duration::from_secs(1), Duration::from_secs(900)).for_at_most(day);
/// let handlers: Handlers = Handlers::new().on(welcome.group("mail").retry(patient).order(Order::None).concurrency(8));
/// ```
// Nothing is asked of the arguments or of what comes out here, but where it is registered: so the compiler names the one
// argument that is wrong, at the line of the user's `.on(…)`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler",
    label = "a handler is an `async fn`, or a closure that returns a future",
    note = "its first argument is the event, by value, and it takes up to eight others: `State<…>`, `Meta`, `Publisher` …"
)]
pub trait Handler<A>: Send + Sync + 'static {
    /// What a call returns.
    type Future: Future;

    /// Calls it.
    fn call(&self, arguments: A) -> Self::Future;

    /// What differs from the default.
    #[doc(hidden)]
    fn options(&self) -> Options {
        Options::default()
    }

    /// What it is called in logs and errors.
    #[doc(hidden)]
    fn name(&self) -> &'static str {
        std::any::type_name::<Self>()
    }

    /// The same with these options, which win over those that it has.
    #[doc(hidden)]
    fn with(self, options: Options) -> Registered<Self, A>
    where
        Self: Sized,
    {
        Registered { handler: self, options, arguments: PhantomData }
    }

    option_methods!([] -> Registered<Self, A> where Self: Sized);
}

/// A handler with options; see the methods of [`Handler`].
#[must_use]
pub struct Registered<H, A> {
    handler: H,
    options: Options,
    arguments: PhantomData<fn(A)>,
}

#[diagnostic::do_not_recommend]
impl<H: Handler<A>, A: 'static> Handler<A> for Registered<H, A> {
    type Future = H::Future;

    fn call(&self, arguments: A) -> Self::Future {
        self.handler.call(arguments)
    }

    fn options(&self) -> Options {
        self.options.clone().or(&self.handler.options())
    }

    fn name(&self) -> &'static str {
        self.handler.name()
    }
}

impl<H: Handler<A>, A: 'static> std::fmt::Debug for Registered<H, A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registered").field("handler", &self.name()).field("options", &self.options()).finish()
    }
}

macro_rules! functions {
    ($(($($argument:ident),+))+) => {$(
        #[expect(non_snake_case, reason = "an argument is called like its type")]
        impl<F, Fut, $($argument),+> Handler<($($argument,)+)> for F
        where
            F: Fn($($argument),+) -> Fut + Send + Sync + 'static,
            Fut: Future,
        {
            type Future = Fut;

            fn call(&self, ($($argument,)+): ($($argument,)+)) -> Fut {
                self($($argument),+)
            }
        }
    )+};
}

functions! {
    (M)
    (M, A1)
    (M, A1, A2)
    (M, A1, A2, A3)
    (M, A1, A2, A3, A4)
    (M, A1, A2, A3, A4, A5)
    (M, A1, A2, A3, A4, A5, A6)
    (M, A1, A2, A3, A4, A5, A6, A7)
    (M, A1, A2, A3, A4, A5, A6, A7, A8)
}
