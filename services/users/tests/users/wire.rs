//! What the tutorial's programs write and read stays as it is, byte for byte.

use prost::Message;
use users::proto::{Error, Request, Response, Token, User};

/// A field of text as protobuf writes it: the tag is the field's number and wire type 2.
fn text(number: u8, value: &str) -> Vec<u8> {
    let length = u8::try_from(value.len()).unwrap();
    [&[number << 3 | 2, length], value.as_bytes()].concat()
}

fn ewan() -> User {
    User {
        id: "1".into(),
        name: "Ewan Valentine".into(),
        company: "BBC".into(),
        email: "ewan.valentine89@gmail.com".into(),
        password: "test123".into(),
    }
}

fn ewan_bytes() -> Vec<u8> {
    [text(1, "1"), text(2, "Ewan Valentine"), text(3, "BBC"), text(4, "ewan.valentine89@gmail.com"), text(5, "test123")].concat()
}

#[test]
fn a_user_has_the_tutorials_fields() {
    assert_eq!(User::decode(&*ewan_bytes()).unwrap(), ewan());
    assert_eq!(ewan().encode_to_vec(), ewan_bytes());
}

#[test]
fn a_user_of_a_later_tutorial_with_a_token_is_read_too() {
    let bytes = [ewan_bytes(), text(6, "token")].concat();
    assert_eq!(User::decode(&*bytes).unwrap(), ewan());
}

#[test]
fn an_old_clients_empty_request_asks_for_the_first_page() {
    assert_eq!(Request::decode(&[][..]).unwrap(), Request { page_size: 0, page_token: String::new() });
}

#[test]
fn an_answer_has_the_tutorials_fields_and_what_is_new_has_a_number_of_its_own() {
    let user = text(2, "Ada");
    let framed = |number: u8, inner: &[u8]| [&[number << 3 | 2, u8::try_from(inner.len()).unwrap()], inner].concat();
    let error = [&[1 << 3, 7][..], &text(2, "no")].concat();
    let bytes = [framed(1, &user), framed(2, &user), framed(2, &user), framed(3, &error)].concat();
    let ada = User { name: "Ada".into(), ..Default::default() };
    let answer = Response {
        user: Some(ada.clone()),
        users: vec![ada.clone(), ada],
        errors: vec![Error { code: 7, description: "no".into() }],
        next_page_token: String::new(),
    };
    assert_eq!(Response::decode(&*bytes).unwrap(), answer);
    assert_eq!(answer.encode_to_vec(), bytes, "the last page is what the tutorial's service sent");
    let paged = Response { next_page_token: "next".into(), ..Default::default() };
    assert_eq!(paged.encode_to_vec(), text(5, "next"));
}

#[test]
fn a_token_has_the_tutorials_fields() {
    let bytes = [text(1, "a.b.c"), vec![2 << 3, 1]].concat();
    let token = Token { token: "a.b.c".into(), valid: true, errors: Vec::new() };
    assert_eq!(Token::decode(&*bytes).unwrap(), token);
    assert_eq!(token.encode_to_vec(), bytes);
}

#[test]
fn no_secret_is_printed() {
    let token = Token { token: "a.b.c".into(), ..Default::default() };
    let printed = format!("{:?} {token:?}", ewan());
    assert!(!printed.contains("test123") && !printed.contains("a.b.c"), "{printed}");
}
