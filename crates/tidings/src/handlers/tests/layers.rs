//! Layers of tower around handlers.

use tower::{limit::ConcurrencyLimitLayer, timeout::TimeoutLayer, util::MapErrLayer, util::MapRequestLayer};

use super::*;

fn noting(seen: &Seen, name: &'static str) -> MapRequestLayer<impl Fn(Context) -> Context + Clone + use<>> {
    let seen = seen.clone();
    MapRequestLayer::new(move |context: Context| {
        seen.push(format!("{name} {}", context.attempt()));
        context
    })
}

#[tokio::test]
async fn layers_hold_for_all_handlers_of_a_value_and_the_last_is_outermost() {
    let seen = Seen::default();
    let noted = async |_: UserCreated, State(seen): State<Seen>| seen.push("handler");
    let merged = Handlers::new().layer(noting(&seen, "inner")).on(noted);
    let handlers = Handlers::new()
        .layer(noting(&seen, "middle"))
        .merge(merged)
        .on_topic("other", async |_: Message| ())
        .layer(noting(&seen, "outer"))
        .with_state(seen.clone());
    let mut slot = empty_slot();
    let mut registrations = registered(handlers);
    registrations.sort_by_key(|registration| registration.pattern.as_str() == "other");
    for registration in registrations {
        registration.handler.dispatch(context_at(broker(), message(r#"{"id":7}"#), 2), &mut slot);
        slot.get_pin().await.unwrap();
        seen.push(registration.pattern.as_str());
    }
    let expected = ["outer 2", "middle 2", "inner 2", "handler", "user.created", "outer 2", "middle 2", "other"];
    assert_eq!(seen.all(), expected);
}

#[tokio::test]
async fn a_rejection_is_one_on_the_other_side_of_towers_layers_too() {
    #[derive(Debug, thiserror::Error)]
    #[error("in my layer")]
    struct Mine(#[source] tidings_core::BoxError);

    let rejecting = || Handlers::new().on(async |_: UserCreated| Err::<(), _>(Failure::reject(SmtpError(550))));
    let timeout = TimeoutLayer::new(Duration::from_secs(60));
    let failure = outcome(rejecting().layer(timeout), context(message(r#"{"id":7}"#))).await.unwrap_err();
    assert_eq!((failure.verdict(), failure.to_string().as_str()), (Verdict::Reject, "the server said 550"));

    let wrapping = MapErrLayer::new(|error: tidings_core::BoxError| Mine(error));
    let failure = outcome(rejecting().layer(wrapping), context(message(r#"{"id":7}"#))).await.unwrap_err();
    assert_eq!((failure.verdict(), failure.to_string().as_str()), (Verdict::Reject, "in my layer: the server said 550"));
}

#[tokio::test(start_paused = true)]
async fn a_layers_own_error_is_a_failed_attempt() {
    let handlers = Handlers::new().on(async |_: UserCreated| std::future::pending::<()>().await);
    let hurried = handlers.layer(TimeoutLayer::new(Duration::from_secs(1)));
    let failure = outcome(hurried, context(message(r#"{"id":7}"#))).await.unwrap_err();
    assert_eq!((failure.verdict(), failure.to_string().as_str()), (Verdict::Retry, "request timed out"));
}

#[tokio::test]
async fn the_attempts_of_a_handler_share_their_layers() {
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let seen = (running, Arc::clone(&most));
    let handlers =
        Handlers::new().on(async move |_: UserCreated, State((running, most)): State<(Arc<AtomicUsize>, Arc<AtomicUsize>)>| {
            most.fetch_max(running.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            running.fetch_sub(1, Ordering::Relaxed);
        });
    let handler = only(handlers.layer(ConcurrencyLimitLayer::new(1)).with_state(seen));
    let mut attempts = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let mut slot = empty_slot();
        handler.dispatch(context(message(r#"{"id":7}"#)), &mut slot);
        attempts.spawn(slot);
    }
    assert!(attempts.join_all().await.iter().all(Result::is_ok));
    assert_eq!(most.load(Ordering::Relaxed), 1);
}
