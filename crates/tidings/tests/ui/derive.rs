use tidings::Event;

#[derive(Event, serde::Serialize, serde::Deserialize)]
struct WithoutATopic {}

#[derive(Event, serde::Serialize, serde::Deserialize)]
#[event(topic = "user..created")]
struct EmptyWord {}

#[derive(Event, serde::Serialize, serde::Deserialize)]
#[event(topic = "user.*")]
struct Wildcard {}

#[derive(Event, serde::Serialize, serde::Deserialize)]
#[event(topic = "dead.user")]
struct Reserved {}

#[derive(Event, serde::Serialize, serde::Deserialize)]
#[event(topic = "user.created", type = "")]
struct EmptyType {}

#[derive(Event, serde::Serialize, serde::Deserialize)]
#[event(topic = "user.created", key = "identity")]
struct NoSuchKey {
    id: u64,
    name: String,
}

#[derive(Event, serde::Serialize, serde::Deserialize)]
#[event(topic = "user.created", key = "id")]
enum NoFields {
    User { id: u64 },
}

#[derive(Event, serde::Serialize, serde::Deserialize)]
#[event(topic = "user.created", key = "address")]
struct KeyThatIsNoText {
    address: Vec<u8>,
}

#[derive(Event, serde::Serialize, serde::Deserialize)]
#[event(topic = "user.created", topic = "user.changed")]
struct Twice {}

#[derive(Event, serde::Serialize, serde::Deserialize)]
#[event(topic = "user.created", color = "blue")]
struct Unknown {}

#[derive(Event, serde::Serialize, serde::Deserialize)]
#[event(topic = "user.created", codec = "xml")]
struct NoSuchCodec {}

#[derive(Event, serde::Serialize, serde::Deserialize)]
#[event(topic = "user.created", header(tenant = "tenant"))]
struct NoSuchHeaderField {
    id: u64,
}

#[derive(Event, serde::Serialize, serde::Deserialize)]
#[event(topic = "user.created", key = "0")]
struct WithoutNames(u64);

#[derive(Event, serde::Serialize, serde::Deserialize)]
#[event(topic = "user.created", header(größe = "size"))]
struct NoHeaderName {
    size: u64,
}

fn main() {}
