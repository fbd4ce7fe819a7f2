//! The `impl Event` of an enum that is one of several events on one topic.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Error, Fields, Ident, LitStr, Result, Type, Variant};

pub(crate) fn event(input: &DeriveInput, topic: &LitStr) -> Result<TokenStream> {
    let Data::Enum(data) = &input.data else {
        return Err(Error::new(input.ident.span(), "`one_of` is for an enum of events"));
    };
    if data.variants.is_empty() {
        return Err(Error::new(input.ident.span(), "`one_of` needs at least one event"));
    }
    let variants = data.variants.iter().map(only_field).collect::<Result<Vec<_>>>()?;
    let (names, events): (Vec<&Ident>, Vec<&Type>) = variants.into_iter().unzip();
    let first = events[0];
    let ident = &input.ident;
    let (impl_generics, type_generics, where_clause) = input.generics.split_for_impl();

    Ok(quote! {
        #[automatically_derived]
        impl #impl_generics ::tidings::Event for #ident #type_generics #where_clause {
            const TOPIC: &'static str = {
                #(::core::assert!(
                    ::tidings::__private::same(<#events as ::tidings::Event>::TOPIC, #topic),
                    "the events of `one_of` have its topic",
                );)*
                #topic
            };
            const TYPES: &'static [&'static str] = {
                const TYPES: &[&str] = &[#(<#events as ::tidings::Event>::TYPE),*];
                ::core::assert!(::tidings::__private::all_differ(TYPES), "each event of `one_of` has a `type` of its own");
                TYPES
            };
            const CONTENT_TYPE: &'static str = {
                #(::core::assert!(
                    ::tidings::__private::same(<#events as ::tidings::Event>::CONTENT_TYPE, <#first as ::tidings::Event>::CONTENT_TYPE),
                    "the events of `one_of` have one codec",
                );)*
                <#first as ::tidings::Event>::CONTENT_TYPE
            };

            fn event_type(&self) -> &'static str {
                match self {
                    #(Self::#names(event) => ::tidings::Event::event_type(event),)*
                }
            }

            fn key(&self) -> ::core::option::Option<::std::borrow::Cow<'_, str>> {
                match self {
                    #(Self::#names(event) => ::tidings::Event::key(event),)*
                }
            }

            fn headers(&self, to: &mut ::tidings::Headers) -> ::core::result::Result<(), ::tidings::BoxError> {
                match self {
                    #(Self::#names(event) => ::tidings::Event::headers(event, to),)*
                }
            }

            fn encode(&self) -> ::core::result::Result<::tidings::__private::bytes::Bytes, ::tidings::BoxError> {
                match self {
                    #(Self::#names(event) => ::tidings::Event::encode(event),)*
                }
            }

            fn decode(
                _: ::core::option::Option<&str>,
                _: &::tidings::__private::bytes::Bytes,
            ) -> ::core::result::Result<Self, ::tidings::BoxError> {
                ::core::result::Result::Err(::tidings::__private::without_a_type())
            }

            fn from_message(message: &::tidings::Message) -> ::core::result::Result<Self, ::tidings::BoxError> {
                let said: &str = message.event_type();
                #(if said == <#events as ::tidings::Event>::TYPE {
                    return <#events as ::tidings::Event>::from_message(message).map(Self::#names);
                })*
                ::core::result::Result::Err(::tidings::__private::without_a_type())
            }
        }
    })
}

/// A variant's name and the event in it.
fn only_field(variant: &Variant) -> Result<(&Ident, &Type)> {
    match &variant.fields {
        Fields::Unnamed(fields) if fields.unnamed.len() == 1 => Ok((&variant.ident, &fields.unnamed[0].ty)),
        _ => {
            let name = &variant.ident;
            Err(Error::new(name.span(), format!("each variant of `one_of` holds one event: `{name}(TheEvent)`")))
        }
    }
}
