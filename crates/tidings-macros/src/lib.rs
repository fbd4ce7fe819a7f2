//! `#[derive(Event)]` for Tidings; use it through the crate `tidings`.

use proc_macro::TokenStream;

mod attributes;
mod expand;
mod one_of;

/// Makes a struct or enum an event.
///
/// ```ignore
/// #[derive(Event, Serialize, Deserialize)]
/// #[event(topic = "user.created", key = "id")]
/// struct UserCreated { id: UserId, name: String }
/// ```
///
/// | in `#[event(…)]` | meaning | default |
/// | --- | --- | --- |
/// | `topic = "user.created"` | where it is published | required |
/// | `type = "com.example.user"` | the CloudEvents type | the topic |
/// | `key = "id"` | the field whose text is the ordering key; an `Option` that is `None` is no key | none |
/// | `codec = "json"`, `"protobuf"`, `"msgpack"` or `"cbor"` | how the body is written; protobuf asks for `prost::Message`, the last two for the features `msgpack` and `cbor` | `json` |
/// | `proto = pb::User` | a prost message that it is read from too, by `TryFrom<pb::User>` | none |
/// | `one_of` | an enum of events of this topic, told apart by their `type` | |
/// | `header(id = "id")` | a header of that name with the field's text, on every wire; may repeat | none |
///
/// ```ignore
/// #[derive(Event)]
/// #[event(topic = "user.changed", one_of)]
/// enum UserChanged {
///     Renamed(Renamed),     // #[event(topic = "user.changed", type = "user.renamed", key = "id")]
///     Moved(Moved),         // #[event(topic = "user.changed", type = "user.moved", key = "id")]
/// }
/// ```
#[proc_macro_derive(Event, attributes(event))]
pub fn derive_event(input: TokenStream) -> TokenStream {
    let input = syn::parse_macro_input!(input as syn::DeriveInput);
    expand::event(&input).unwrap_or_else(|error| error.to_compile_error()).into()
}
