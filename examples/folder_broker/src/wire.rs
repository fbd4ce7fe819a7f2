//! What is in a message's file: the topic, a line for each attribute and header, an empty line, the body.

use tidings_core::{
    Message, MessageId, Source, Topic,
    wire::{Incoming, Origin, attributes, decode_value, encode_value},
};

/// A message as a file.
pub(crate) fn write(message: &Message) -> Vec<u8> {
    let mut head = format!("{}\n", message.topic());
    // Encoded, a value holds no end of a line.
    let mut line = |prefix: &str, name: &str, value: &str| head.extend([prefix, name, ":", &encode_value(value), "\n"]);
    attributes(message, |name, value| line("ce-", name, value));
    if let Some(content_type) = message.content_type() {
        line("", "content-type", content_type);
    }
    for (name, value) in message.headers().iter() {
        line("", name, value);
    }
    head.push('\n');
    [head.as_bytes(), message.body()].concat()
}

/// A file as a message; `None` when it is none. What does not say who it is, is called `id`.
pub(crate) fn read(mut file: Vec<u8>, id: &str) -> Option<Message> {
    const END: &[u8] = b"\n\n";
    let end = file.windows(END.len()).position(|bytes| bytes == END)?;
    let body = file.split_off(end + END.len());
    let (topic, lines) = str::from_utf8(file.get(..end)?).ok()?.split_once('\n')?;
    let mut incoming = Incoming::new(Topic::from_wire(topic).ok()?, body.into());
    for line in lines.lines() {
        let (name, value) = line.split_once(':')?;
        match name.strip_prefix("ce-") {
            Some(attribute) => incoming.attribute(attribute, &decode_value(value)),
            None => incoming.header(name, &decode_value(value)),
        }
    }
    let (source, id) = (Source::new("/folder").ok()?, MessageId::new(id).ok()?);
    Some(incoming.finish(Origin { source, id: || id }))
}
