//! One subscription: subscribed, run until it is drained, closed.

use std::{sync::Arc, time::Duration};

use tidings_core::{BrokerError, Fetch, Settle};
use tokio::{sync::mpsc::unbounded_channel, time::timeout};
use tokio_util::task::AbortOnDropHandle;

use super::{
    Drain, Ground, SubscribeError,
    burial::bury_all,
    leases::Held,
    plan::Plan,
    settling::settle_all,
    work::{Outlets, Work},
};
use crate::handlers::Registration;

/// How long the last settlements may take after the cut, and then the closing.
const CLOSING: Duration = Duration::from_secs(2);

/// A subscription that the server knows of.
pub(crate) struct Subscriber {
    plan: Plan,
    ground: Ground,
    fetch: Box<dyn Fetch>,
    settle: Arc<dyn Settle>,
}

impl Subscriber {
    /// Subscribes a handler; returns when the server knows of it: what is published from now on arrives.
    ///
    /// # Errors
    /// When the broker cannot do what the handler asks for, or cannot be reached.
    ///
    /// # Cancel safety
    /// A dropped future leaves nothing behind.
    pub(crate) async fn subscribe(ground: &Ground, registration: Registration) -> Result<Self, SubscribeError> {
        let broker = &ground.broker;
        let plan = Plan::of(registration, &ground.limits, broker.name(), broker.capabilities())?;
        let subscribed = broker.subscribe(plan.request.clone()).await;
        let (fetch, settle) = subscribed.map_err(|source| SubscribeError::Broker {
            handler: plan.handler_name,
            pattern: plan.name.pattern.clone(),
            source,
        })?;
        let (group, pattern) = (&plan.name.group, &plan.name.pattern);
        tracing::info!(%group, %pattern, handler = plan.handler_name, "subscribed");
        if !plan.keeps_messages() {
            let broker = broker.name();
            tracing::warn!(%group, %pattern, "{broker} keeps no dead letters: messages that are given up are counted and logged only");
        }
        Ok(Self { plan, ground: ground.clone(), fetch, settle })
    }

    /// Handles what comes until it is drained.
    ///
    /// It ends when what was in hand is settled or handed back, soon after `drain.cut` at the latest, and leaves the group in
    /// order.
    ///
    /// # Errors
    /// When the broker ended the subscription; what was in hand comes again.
    ///
    /// # Cancel safety
    /// A dropped future is a crash: running handlers are cancelled, and what was in hand comes again.
    pub(crate) async fn run(self, drain: Drain) -> Result<(), BrokerError> {
        let Self { plan, ground, mut fetch, settle } = self;
        let name = plan.name.clone();
        let (events, news) = unbounded_channel();
        let (outcomes, settled) = unbounded_channel();
        let (burials, buried) = unbounded_channel();
        let metrics = ground.metrics.subscription(&name);
        let held = Held::new(settle.lease());
        let left_out = metrics.letters_without_body.clone();
        let own = |task| AbortOnDropHandle::new(task);
        let extending = own(tokio::spawn(held.clone().keep(Arc::clone(&settle), events.clone())));
        let burying = own(tokio::spawn(bury_all(Arc::clone(&ground.broker), buried, events.clone(), left_out)));
        let settling = settle_all(settle, held.clone(), settled, events.clone(), drain.cut.clone());
        let mut settling = own(tokio::spawn(settling));

        let outlets = Outlets { events, outcomes, burials, held };
        let worked = Work::new(plan, ground, metrics, outlets).run(&mut *fetch, news, &drain).await;

        // The loop dropped its ends: the settling ends with the last outcome. It gives up at the cut.
        let settled = tokio::select! {
            settled = &mut settling => Some(settled),
            () = drain.cut.cancelled() => timeout(CLOSING, &mut settling).await.ok(),
        };
        if settled.is_none() {
            tracing::warn!(group = %name.group, pattern = %name.pattern, "the last outcomes could not be settled: their messages come again");
        }
        drop((extending, burying));
        let closed = timeout(CLOSING, fetch.close()).await;
        worked?;
        match closed {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) if !error.is_transient() => Err(error),
            // A broker that is away has let go of us already.
            Ok(Err(_)) | Err(_) => {
                tracing::warn!(group = %name.group, pattern = %name.pattern, "the broker did not confirm the end of the subscription");
                Ok(())
            }
        }
    }
}
