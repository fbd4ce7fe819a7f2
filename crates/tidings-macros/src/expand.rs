//! The `impl Event` that the derive writes.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::{Data, DeriveInput, Error, Field, LitStr, Result, Type, ext::IdentExt, parse_quote};

use crate::{
    attributes::{Attributes, Codec},
    one_of,
};

pub(crate) fn event(input: &DeriveInput) -> Result<TokenStream> {
    let attributes = Attributes::of(input)?;
    if attributes.one_of {
        return one_of::event(input, &attributes.topic);
    }
    let ident = &input.ident;
    let (impl_generics, type_generics, where_clause) = input.generics.split_for_impl();
    let mut bounds = where_clause.cloned().unwrap_or_else(|| parse_quote!(where));
    if !input.generics.params.is_empty() {
        bounds.predicates.push(parse_quote!(Self: ::core::marker::Send + 'static));
    }

    let topic = &attributes.topic;
    let event_type = attributes.event_type.as_ref().map(|text| quote!(const TYPE: &'static str = #text;));
    let key = key(input, attributes.key.as_ref())?;
    let headers = headers(input, &attributes.headers)?;
    let (content_type, encode) = match attributes.codec {
        Codec::Json => (quote!(JSON), quote!(::tidings::__private::json_encode(self))),
        Codec::Protobuf => (quote!(PROTOBUF), quote!(::core::result::Result::Ok(::tidings::__private::proto_encode(self)))),
        Codec::MsgPack => (quote!(MSGPACK), quote!(::tidings::__private::msgpack_encode(self))),
        Codec::Cbor => (quote!(CBOR), quote!(::tidings::__private::cbor_encode(self))),
    };
    let decode = decode(&attributes);

    Ok(quote! {
        #[automatically_derived]
        impl #impl_generics ::tidings::Event for #ident #type_generics #bounds {
            const TOPIC: &'static str = #topic;
            #event_type
            const CONTENT_TYPE: &'static str = ::tidings::__private::#content_type;

            fn key(&self) -> ::core::option::Option<::std::borrow::Cow<'_, str>> {
                #key
            }

            #headers

            fn encode(&self) -> ::core::result::Result<::tidings::__private::bytes::Bytes, ::tidings::BoxError> {
                #encode
            }

            fn decode(
                content_type: ::core::option::Option<&str>,
                body: &::tidings::__private::bytes::Bytes,
            ) -> ::core::result::Result<Self, ::tidings::BoxError> {
                let _ = content_type;
                #decode
            }
        }
    })
}

fn key(input: &DeriveInput, key: Option<&LitStr>) -> Result<TokenStream> {
    let Some(key) = key else { return Ok(quote!(::core::option::Option::None)) };
    let field = field(input, key)?;
    let name = &field.ident;
    let text = if is_called(&field.ty, "String") {
        quote_spanned!(key.span()=> ::std::borrow::Cow::Borrowed(::core::convert::AsRef::<str>::as_ref(key)))
    } else {
        quote_spanned!(key.span()=> ::std::borrow::Cow::Owned(::std::string::ToString::to_string(key)))
    };
    if is_called(&field.ty, "Option") {
        return Ok(quote!(self.#name.as_ref().map(|key| #text)));
    }
    Ok(quote!({ let key = &self.#name; ::core::option::Option::Some(#text) }))
}

fn headers(input: &DeriveInput, headers: &[(LitStr, LitStr)]) -> Result<TokenStream> {
    if headers.is_empty() {
        return Ok(TokenStream::new());
    }
    let mut adds = Vec::new();
    for (header, field_name) in headers {
        let field = field(input, field_name)?;
        let name = &field.ident;
        adds.push(if is_called(&field.ty, "Option") {
            quote!(if let ::core::option::Option::Some(value) = &self.#name { ::tidings::__private::header(to, #header, value)?; })
        } else {
            quote!(::tidings::__private::header(to, #header, &self.#name)?;)
        });
    }
    Ok(quote! {
        fn headers(&self, to: &mut ::tidings::Headers) -> ::core::result::Result<(), ::tidings::BoxError> {
            #(#adds)*
            ::core::result::Result::Ok(())
        }
    })
}

fn decode(attributes: &Attributes) -> TokenStream {
    let own = match attributes.codec {
        Codec::Json => quote!(::tidings::__private::json_decode(body)),
        Codec::Protobuf => quote!(::tidings::__private::proto_decode(body)),
        Codec::MsgPack => quote!(::tidings::__private::msgpack_decode(body)),
        Codec::Cbor => quote!(::tidings::__private::cbor_decode(body)),
    };
    let Some(proto) = &attributes.proto else { return own };
    quote! {
        if ::tidings::__private::is_protobuf(content_type) {
            let message = ::tidings::__private::proto_decode::<#proto>(body)?;
            return ::core::result::Result::Ok(<Self as ::core::convert::TryFrom<#proto>>::try_from(message)?);
        }
        #own
    }
}

fn field<'a>(input: &'a DeriveInput, name: &LitStr) -> Result<&'a Field> {
    let Data::Struct(data) = &input.data else {
        return Err(Error::new(name.span(), "only a struct has fields to take this from"));
    };
    let wanted = name.value();
    let called = |field: &Field| field.ident.as_ref().map(|ident| ident.unraw().to_string());
    data.fields.iter().find(|field| called(field).is_some_and(|name| name == wanted)).ok_or_else(|| {
        let there: Vec<_> = data.fields.iter().filter_map(called).map(|name| format!("`{name}`")).collect();
        let there = if there.is_empty() { "it has no named fields".to_owned() } else { format!("it has {}", there.join(", ")) };
        Error::new(name.span(), format!("no field `{wanted}` in `{}`: {there}", input.ident))
    })
}

/// By its last word, which is all that a derive sees of a type.
fn is_called(ty: &Type, name: &str) -> bool {
    match ty {
        Type::Path(path) => path.path.segments.last().is_some_and(|last| last.ident == name),
        // What a `macro_rules` put there comes in an invisible group.
        Type::Group(group) => is_called(&group.elem, name),
        _ => false,
    }
}
