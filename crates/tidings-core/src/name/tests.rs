use super::*;

#[test]
fn a_topic_is_dotted_words() {
    for good in ["user", "user.created", "a-b.c_d.E9", &"x".repeat(160)] {
        assert_eq!(Topic::new(good).unwrap().as_str(), good);
    }
    for bad in ["", ".", "user.", ".user", "a..b", "a b", "a.*", "a.>", "ü", "a\n", "dead", "again.x", &"x".repeat(161)] {
        let error = Topic::new(bad).unwrap_err().to_string();
        assert!(error.starts_with("invalid topic \""), "{error}");
    }
}

#[test]
fn what_came_from_a_wire_is_not_always_fit_to_publish() {
    let check = |text: &str| Topic::from_wire(text).unwrap().check_for_publish();
    for good in ["user.created", "dead.mail.user.created", &format!("again.g.{}", "x".repeat(160))] {
        assert!(check(good).is_ok(), "{good}");
    }
    for bad in ["user.*", "a..b", "ü", "dead.>", &"x".repeat(161), &format!("dead.{}", "x".repeat(250))] {
        assert!(check(bad).is_err(), "{bad}");
    }
}

#[test]
fn an_error_shows_a_long_value_cut_and_escaped() {
    let error = Topic::new(&"\u{7}é".repeat(500)).unwrap_err().to_string();
    assert!(error.len() < 700 && error.contains("(1500 bytes)") && !error.contains('\u{7}'), "{error}");
}

#[test]
fn a_pattern_matches_as_nats_does() {
    let matches = |pattern: &str, topic: &str| TopicPattern::new(pattern).unwrap().matches(&Topic::from_wire(topic).unwrap());
    assert!(matches("user.created", "user.created"));
    assert!(matches("user.*", "user.created"));
    assert!(!matches("user.*", "user.address.changed"));
    assert!(!matches("user.*", "user"));
    assert!(matches("*.created", "user.created"));
    assert!(matches("user.>", "user.address.changed"));
    assert!(!matches("user.>", "user"));
    assert!(matches(">", "user"));
    assert!(!matches("user", "user.created"));
}

#[test]
fn no_wildcard_sees_the_frameworks_own_topics() {
    let group = GroupName::new("mail").unwrap();
    let dead = Topic::dead(&group, &Topic::new("user.created").unwrap());
    assert_eq!(dead.as_str(), "dead.mail.user.created");
    for blind in [">", "*.mail.user.created", "*.>"] {
        assert!(!TopicPattern::new(blind).unwrap().matches(&dead), "{blind}");
    }
    assert!(TopicPattern::new("dead.>").unwrap().matches(&dead));
}

#[test]
fn a_pattern_ends_at_its_rest() {
    for bad in ["", "a.>.b", "a*", "a.b>", "a..*", " "] {
        assert!(TopicPattern::new(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_service_name_becomes_a_group() {
    assert_eq!(GroupName::of_service("go.micro.srv.email").unwrap().as_str(), "go_micro_srv_email");
    assert!(GroupName::new("a.b").is_err());
    assert!(GroupName::new(&"g".repeat(65)).is_err());
}

#[test]
fn an_id_is_equal_to_itself_however_it_came() {
    let id = MessageId::generate();
    assert_eq!(MessageId::new(&id.to_string()).unwrap(), id);
    let upper = id.to_string().to_uppercase();
    assert_eq!(MessageId::new(&upper).unwrap().to_string(), upper);
    assert!(MessageId::new("").is_err());
    assert!(MessageId::new(&"i".repeat(256)).is_err());
}
