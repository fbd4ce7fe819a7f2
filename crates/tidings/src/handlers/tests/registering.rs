//! What a program registered, and what is refused.

use super::*;

async fn welcome(_: UserCreated) {}

async fn audit(_: Message) {}

fn error(handlers: Handlers) -> String {
    handlers.registrations(&group()).unwrap_err().to_string()
}

#[test]
fn a_subscription_is_a_topic_and_the_services_group_unless_said_otherwise() {
    let all = registered(Handlers::new().on(welcome).on_topic("user.>", audit.group("auditing")));
    let of = |index: usize| {
        let Registration { name, group, pattern, .. } = &all[index];
        format!("{name} {group} {pattern}")
    };
    assert!(of(0).ends_with("welcome email user.created"), "{}", of(0));
    assert!(of(1).ends_with("audit auditing user.>"), "{}", of(1));
}

#[test]
fn a_handlers_own_option_wins_over_its_values_and_that_over_the_merged_ones() {
    let ten = Duration::from_secs(10);
    let handlers = Handlers::new()
        .timeout(ten)
        .merge(
            Handlers::new()
                .group("inner")
                .on(welcome.concurrency(1).retry(Retry::never()).concurrency(2))
                .on_topic("user.>", audit.group("own").order(Order::None).each_instance())
                .concurrency(3),
        )
        .on(welcome.start(Start::Now))
        .group("outer")
        .concurrency(4);
    let all = registered(handlers);
    let groups: Vec<_> = all.iter().map(|registration| registration.group.as_str()).collect();
    assert_eq!(groups, ["inner", "own", "outer"]);
    let concurrency: Vec<_> = all.iter().map(|registration| registration.options.concurrency).collect();
    assert_eq!(concurrency, [Some(2), Some(3), Some(4)]);
    assert!(all.iter().all(|registration| registration.options.timeout == Some(ten)));
    assert_eq!(all[0].options.retry, Some(Retry::never()));
    assert_eq!((all[1].options.order, all[1].options.members), (Some(Order::None), Some(Members::Each)));
    assert_eq!((all[2].options.order, all[2].options.start), (None, Some(Start::Now)));
    assert!(all[0].name.ends_with("::welcome"), "{}", all[0].name);
}

#[test]
fn two_handlers_of_one_subscription_are_refused_with_the_way_out() {
    let said = error(Handlers::new().on(welcome).on_topic("user.created", audit));
    for part in ["::welcome and ", "::audit both take user.created in the group email", "`.group(\"…\")`"] {
        assert!(said.contains(part), "{said}");
    }
    let each = error(Handlers::new().on(welcome).on(welcome.each_instance()));
    assert!(each.contains("both take user.created"), "{each}");
    registered(Handlers::new().on(welcome).on(welcome.each_instance().group("cache")).on_topic("user.*", audit));
}

#[test]
fn a_wrong_name_is_an_error_with_the_handler_the_value_and_the_rule() {
    let said = error(Handlers::new().on(welcome.group("go.micro.srv.email")));
    assert!(said.starts_with("handler ") && said.contains(r#"welcome: invalid group "go.micro.srv.email": 1 to 64"#), "{said}");
    let said = error(Handlers::new().on_topic("user.>.created", audit));
    assert!(said.contains(r#"audit: invalid topic pattern "user.>.created": `>` stands for all"#), "{said}");
    let common = error(Handlers::new().on(welcome).group(""));
    assert!(common.contains(r#"welcome: invalid group """#), "{common}");
}

#[test]
fn an_event_written_by_hand_has_one_topic_too() {
    struct Wild;
    impl tidings_core::Event for Wild {
        const TOPIC: &'static str = "user.*";
        const CONTENT_TYPE: &'static str = "text/plain";
        fn key(&self) -> Option<std::borrow::Cow<'_, str>> {
            None
        }
        fn encode(&self) -> Result<bytes::Bytes, tidings_core::BoxError> {
            Ok(bytes::Bytes::new())
        }
        fn decode(_: Option<&str>, _: &bytes::Bytes) -> Result<Self, tidings_core::BoxError> {
            Ok(Self)
        }
    }
    let said = error(Handlers::new().on(async |_: Wild| {}));
    assert!(said.contains(r#"invalid topic "user.*""#), "{said}");
}

#[test]
fn options_without_sense_are_refused() {
    let none = error(Handlers::new().on(welcome.concurrency(0)));
    assert!(none.contains("`.concurrency(0)` would handle nothing"), "{none}");
    let never = error(Handlers::new().on(welcome).timeout(Duration::ZERO));
    assert!(never.contains("`.timeout(0)` would cancel every attempt"), "{never}");
    let (hour, day) = (Duration::from_secs(3600), Duration::from_secs(24 * 3600));
    for (handlers, said) in [
        (Handlers::new().on(welcome.concurrency(usize::MAX)), "at most 1,048,576"),
        (Handlers::new().on(welcome.timeout(Duration::MAX)), "at most 24 h"),
        (Handlers::new().on(welcome.retry(Retry::exponential(Duration::ZERO, Duration::ZERO))), "at least 1 ms"),
        (Handlers::new().on(welcome.retry(Retry::exponential(hour, Duration::MAX))), "at most 30 days"),
        (Handlers::new().on(welcome.retry(Retry::default().attempts(u32::MAX))), "at most 10,000"),
        (Handlers::new().on(welcome.retry(Retry::default().for_at_most(366 * day))), "at most 365 days"),
    ] {
        let refused = error(handlers);
        assert!(refused.contains(said), "{refused}");
    }
    let refused = Handlers::new().on(welcome.each_instance().start(Start::First)).registrations(&group()).unwrap_err();
    assert!(matches!(refused, InvalidHandlers::Option { .. }), "{refused}");
    assert!(refused.to_string().contains("`.start(First)` has no meaning with `.each_instance()`"), "{refused}");
}
