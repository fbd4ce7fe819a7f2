//! Names that the server keeps for a subscription, no two alike.

use tidings_core::{GroupName, TopicPattern};

/// What tells the subscriptions of all groups apart: `email=user=created`, `audit=user=~`.
///
/// A group has no dots and no word holds `=`, `+` or `~`, so the first part is the group, the others are the pattern's
/// words, with `+` for `*` and `~` for `>`, which a consumer's name may not hold. `again.<group>.…` does not say the group
/// twice (an empty word stands for it), or the longest would not fit into the 255 bytes that the server allows.
pub(crate) fn of(group: &GroupName, pattern: &TopicPattern) -> String {
    let mut name = group.as_str().to_owned();
    let own = format!("again.{group}.");
    let words = match pattern.as_str().strip_prefix(&own) {
        Some(rest) => {
            name.push_str("==again");
            rest
        }
        None => pattern.as_str(),
    };
    for word in words.split('.') {
        name.push('=');
        name.push_str(match word {
            "*" => "+",
            ">" => "~",
            word => word,
        });
    }
    name
}

/// The NATS queue group of a subscription.
///
/// The server hands a message to one member of a queue group even when they subscribed to different patterns, so patterns
/// that overlap need names of their own. Plain topics never overlap: there it is the group, as others on NATS have it.
pub(crate) fn queue(group: &GroupName, pattern: &TopicPattern) -> String {
    if pattern.has_wildcard() { of(group, pattern) } else { group.as_str().to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(group: &str, pattern: &str) -> String {
        super::of(&GroupName::new(group).unwrap(), &TopicPattern::new(pattern).unwrap())
    }

    #[test]
    fn no_two_subscriptions_share_a_name() {
        let pairs = [
            ("a", "b.c"),
            ("a", "b_c"),
            ("a", "b-c"),
            ("a_b", "c"),
            ("a-b", "c"),
            ("a", "b"),
            ("a", "b.*"),
            ("a", "b.>"),
            ("a", ">"),
            ("a", "*.b"),
            ("a", "again.a.b"),
            ("a", "again.b.a.b"),
            ("a", "dead.a.b"),
        ];
        let names: std::collections::HashSet<_> = pairs.iter().map(|(group, pattern)| of(group, pattern)).collect();
        assert_eq!(names.len(), pairs.len());
        assert_eq!(of("audit", "user.>"), "audit=user=~");
        assert_eq!(of("mail", "again.mail.user.created"), "mail==again=user=created");
    }

    #[test]
    fn every_name_fits() {
        let (group, topic) = ("g".repeat(64), "t".repeat(160));
        assert!(of(&group, &topic).len() <= 255);
        assert!(of(&group, &format!("again.{group}.{topic}")).len() <= 255);
    }

    #[test]
    fn a_plain_topic_shares_its_queue_with_others_on_nats() {
        let queue = |pattern: &str| super::queue(&GroupName::new("mail").unwrap(), &TopicPattern::new(pattern).unwrap());
        assert_eq!(queue("user.created"), "mail");
        assert_ne!(queue("user.*"), queue("user.>"));
    }
}
