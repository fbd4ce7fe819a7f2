//! All arguments of a handler together: the event or message first, then extractors.

use tidings_core::{Event, Message};

use super::{Context, Early, Extract, Failure, Needs};

/// The arguments of a handler of one event: `(E, A1, A2, …)` with an [`Event`] first.
#[diagnostic::on_unimplemented(
    message = "a handler with the arguments `{Self}` does not handle an event",
    label = "not the arguments of a handler of events"
)]
pub trait EventArgs<S>: Sized + Send + 'static {
    /// The event's topic.
    #[doc(hidden)]
    const TOPIC: &'static str;

    /// The types of what it takes from there.
    #[doc(hidden)]
    const TYPES: &'static [&'static str];

    #[doc(hidden)]
    fn extract(context: &mut Context, state: &S) -> impl Future<Output = Result<Self, Early>> + Send;

    #[doc(hidden)]
    fn needs(state: &S, needs: &mut Needs);
}

/// The arguments of a handler of a topic pattern: `(Message, A1, A2, …)`.
#[diagnostic::on_unimplemented(
    message = "a handler with the arguments `{Self}` does not handle messages",
    label = "not the arguments of a handler of messages"
)]
pub trait MessageArgs<S>: Sized + Send + 'static {
    #[doc(hidden)]
    fn extract(context: &mut Context, state: &S) -> impl Future<Output = Result<Self, Early>> + Send;

    #[doc(hidden)]
    fn needs(state: &S, needs: &mut Needs);
}

/// [`Message`] alone, so that the compiler can say that something else is none.
#[diagnostic::on_unimplemented(
    message = "a handler for a topic or a pattern takes `Message` first, not `{Self}`",
    label = "takes a `{Self}`",
    note = "a handler of one event is registered with `.on(…)`, without its topic"
)]
pub trait IsMessage: Send + 'static {
    fn of(message: &Message) -> Self;
}

impl IsMessage for Message {
    fn of(message: &Message) -> Self {
        message.clone()
    }
}

/// Either of the two, told apart by `K`.
pub(super) trait Arguments<S, K>: Sized + Send + 'static {
    fn extract(context: &mut Context, state: &S) -> impl Future<Output = Result<Self, Early>> + Send;

    fn needs(state: &S, needs: &mut Needs);
}

/// The kind of [`EventArgs`].
pub(super) enum ByEvent {}

/// The kind of [`MessageArgs`].
pub(super) enum ByPattern {}

impl<S: Sync, A: EventArgs<S>> Arguments<S, ByEvent> for A {
    fn extract(context: &mut Context, state: &S) -> impl Future<Output = Result<Self, Early>> + Send {
        A::extract(context, state)
    }

    fn needs(state: &S, needs: &mut Needs) {
        A::needs(state, needs);
    }
}

impl<S: Sync, A: MessageArgs<S>> Arguments<S, ByPattern> for A {
    fn extract(context: &mut Context, state: &S) -> impl Future<Output = Result<Self, Early>> + Send {
        A::extract(context, state)
    }

    fn needs(state: &S, needs: &mut Needs) {
        A::needs(state, needs);
    }
}

/// A body that is not what its topic says; the source says where, and quotes no value of the body.
#[derive(Debug, thiserror::Error)]
#[error("the body is not an event of {topic}")]
struct Undecodable {
    topic: &'static str,
    source: tidings_core::BoxError,
}

/// The types that tell such events from others of their topic.
pub(super) const fn types_of<E: Event>() -> &'static [&'static str] {
    if E::TYPES.is_empty() { const { &[E::TYPE] } } else { E::TYPES }
}

pub(super) fn decode<E: Event>(message: &Message) -> Result<E, Early> {
    // An event without a type of its own takes what its topic has, whatever others call it.
    if (!E::TYPES.is_empty() || E::TYPE != E::TOPIC) && is_another(message, types_of::<E>()) {
        return Err(Early::Handled);
    }
    E::from_message(message).map_err(|source| Early::Failed(Failure::reject(Undecodable { topic: E::TOPIC, source })))
}

/// Whether a message says that it is something else: its topic may get events that this program does not know yet. One that does
/// not say what it is, on a wire without types, is not passed over.
pub(super) fn is_another(message: &Message, known: &[&str]) -> bool {
    let said = message.event_type().as_str();
    let another = said != message.topic().as_str() && !known.contains(&said);
    if another {
        tracing::debug!(said, "an event of another type is passed over");
    }
    another
}

macro_rules! tuples {
    ($(($($argument:ident),*))+) => {$(
        #[allow(non_snake_case, unused_variables, reason = "an argument is called like its type, and there may be none")]
        impl<S: Sync, E: Event, $($argument: Extract<S>),*> EventArgs<S> for (E, $($argument,)*) {
            const TOPIC: &'static str = E::TOPIC;
            const TYPES: &'static [&'static str] = types_of::<E>();

            async fn extract(context: &mut Context, state: &S) -> Result<Self, Early> {
                let event = decode(context.message())?;
                $(let $argument = $argument::extract(context, state).await?;)*
                Ok((event, $($argument,)*))
            }

            fn needs(state: &S, needs: &mut Needs) {
                $($argument::needs(state, needs);)*
            }
        }

        #[allow(non_snake_case, unused_variables, reason = "an argument is called like its type, and there may be none")]
        impl<S: Sync, M: IsMessage, $($argument: Extract<S>),*> MessageArgs<S> for (M, $($argument,)*) {
            async fn extract(context: &mut Context, state: &S) -> Result<Self, Early> {
                $(let $argument = $argument::extract(context, state).await?;)*
                Ok((M::of(context.message()), $($argument,)*))
            }

            fn needs(state: &S, needs: &mut Needs) {
                $($argument::needs(state, needs);)*
            }
        }
    )+};
}

tuples! {
    ()
    (A1)
    (A1, A2)
    (A1, A2, A3)
    (A1, A2, A3, A4)
    (A1, A2, A3, A4, A5)
    (A1, A2, A3, A4, A5, A6)
    (A1, A2, A3, A4, A5, A6, A7)
    (A1, A2, A3, A4, A5, A6, A7, A8)
}
