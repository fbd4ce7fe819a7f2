//! Calling the user-service as its clients do.

use std::ops::Range;
use tokio::task::JoinSet;
use tonic::transport::{Channel, Endpoint};
use users::proto::user_service_client::UserServiceClient;
use users::proto::{Request, User};

pub(crate) type Client = UserServiceClient<Channel>;

/// A client that connects when it is first used, and again whenever the service is back.
pub(crate) fn client(port: u16) -> Client {
    let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}")).unwrap();
    UserServiceClient::new(endpoint.connect_lazy())
}

/// The user number `n`, ready to be created.
pub(crate) fn user(n: usize) -> User {
    User {
        id: String::new(),
        name: format!("User {n}"),
        company: "Acme".to_owned(),
        email: format!("user{n}@example.com"),
        password: "correct horse battery".to_owned(),
    }
}

/// Creates the users of these numbers, eight at once, and returns what the service answered.
pub(crate) async fn create_all(client: &Client, numbers: Range<usize>) -> Vec<User> {
    let mut created = Vec::with_capacity(numbers.len());
    let mut calls = JoinSet::new();
    for n in numbers {
        if calls.len() == 8 {
            created.push(calls.join_next().await.unwrap().unwrap());
        }
        let mut client = client.clone();
        calls.spawn(async move {
            let answer = client.create(user(n)).await;
            answer.unwrap_or_else(|refused| panic!("user {n}: {refused:?}")).into_inner().user.unwrap()
        });
    }
    created.extend(calls.join_all().await);
    created
}

/// All users that are stored, page by page.
pub(crate) async fn all(client: &mut Client) -> Vec<User> {
    let mut found = Vec::new();
    let mut page_token = String::new();
    loop {
        let page = client.get_all(Request { page_size: 0, page_token }).await.unwrap().into_inner();
        found.extend(page.users);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return found;
        }
    }
}
