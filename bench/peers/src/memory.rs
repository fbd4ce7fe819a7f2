//! One publisher to one typed handler in one process.

use std::{
    future::{Future, ready},
    sync::Arc,
};

use anyhow::Result;
use ruststream::memory::prelude::*;
use tokio::{sync::Semaphore, time::Instant};

use crate::{
    Window,
    sent::{Handled, SUBJECT, Sent, body, message, rate},
};

/// RustStream's memory broker has no bound; the job keeps the one of the others around it.
const BOUND: usize = 256;
/// Room is given and taken for so many at once, so that the bound costs RustStream next to nothing.
const STEP: u32 = 64;

struct Bounded {
    handled: Handled,
    room: Arc<Semaphore>,
}

impl Handle<Sent> for Bounded {
    fn handle(&self, event: &Sent, _: &(), _: &mut Context<'_>) -> impl Future<Output = Result<(), HandlerOutcome>> {
        std::hint::black_box(event.text.len() as u64 + event.number);
        if self.handled.one().is_multiple_of(u64::from(STEP)) {
            self.room.add_permits(STEP as usize);
        }
        ready(Ok(()))
    }
}

pub(crate) async fn job(window: Window) -> Result<f64> {
    let broker = MemoryBroker::new();
    let publisher = broker.publisher();
    let handled = Handled::default();
    let room = Arc::new(Semaphore::new(BOUND));
    let handler = Bounded { handled: handled.clone(), room: Arc::clone(&room) };
    let app = RustStream::new(AppInfo::new("bench", "0.0.0")).with_broker(broker, |mount| {
        mount.include(subscriber(SUBJECT, handler).build());
    });
    let running = app.start().await?;
    let body = body(128);
    let begun = Instant::now();
    let publishing = tokio::spawn(async move {
        let mut sent = 0;
        while begun.elapsed() < window.time {
            for _ in 0..1000 / STEP {
                room.acquire_many(STEP).await?.forget();
                for _ in 0..STEP {
                    publisher.publish(message(SUBJECT, &body), None).await?;
                }
                sent += u64::from(STEP);
            }
        }
        anyhow::Ok(sent)
    });
    let sent = publishing.await??;
    handled.catch_up(sent, 0).await;
    let rate = rate(sent, begun);
    running.shutdown().await?;
    Ok(rate)
}
