//! What a Tidings broker plug-in is written against: messages, topics, the broker trait.
