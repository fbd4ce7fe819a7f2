//! The calls of `UserService`: from the wire to the domain and back.
//!
//! No answer carries a password or its hash. What a caller cannot mend is logged, and answered without the reason.

mod access;
mod login;
mod status;

use std::sync::Arc;

use tonic::{Request, Response, Status};
use tracing::info;

pub use self::access::{Access, Guarded};
use crate::{
    domain::{Password, User, UserId},
    password::Passwords,
    proto::{self, user_service_server::UserService},
    store::Store,
    token::Tokens,
};

/// Users a page at most, and what a client gets that does not ask.
const PAGE: u32 = 1_000;

/// The service's calls.
#[derive(Clone, Debug)]
pub struct Users {
    store: Store,
    passwords: Passwords,
    tokens: Arc<Tokens>,
}

impl Users {
    /// The calls over their parts. Who may make them, [`Guarded`] decides.
    #[must_use]
    pub fn new(store: Store, passwords: Passwords, tokens: Arc<Tokens>) -> Self {
        Self { store, passwords, tokens }
    }
}

#[tonic::async_trait]
impl UserService for Users {
    async fn create(&self, request: Request<proto::User>) -> Result<Response<proto::Response>, Status> {
        let asked = request.into_inner();
        let user = User::new(&asked.name, &asked.company, &asked.email)?;
        let hash = self.passwords.hash(Password::new(asked.password)?).await?;
        self.store.create(&user, &hash).await?;
        info!(user = %user.id, "user created");
        Ok(Response::new(one(user)))
    }

    async fn get(&self, request: Request<proto::User>) -> Result<Response<proto::Response>, Status> {
        let id: UserId = request.into_inner().id.parse()?;
        let user = self.store.get(id).await?.ok_or_else(|| Status::not_found("no user has this id"))?;
        Ok(Response::new(one(user)))
    }

    async fn get_all(&self, request: Request<proto::Request>) -> Result<Response<proto::Response>, Status> {
        let (after, size) = page_of(request.get_ref())?;
        // One more tells whether there is a next page.
        let mut users = self.store.page(after, size + 1).await?;
        let more = users.len() > usize::try_from(size).unwrap_or(usize::MAX);
        if more {
            users.pop();
        }
        let next_page_token = users.last().filter(|_| more).map(|user| user.id.to_string()).unwrap_or_default();
        let users = users.into_iter().map(proto::User::from).collect();
        Ok(Response::new(proto::Response { users, next_page_token, ..Default::default() }))
    }

    async fn auth(&self, request: Request<proto::User>) -> Result<Response<proto::Token>, Status> {
        let proto::User { email, password, .. } = request.into_inner();
        let user = self.login(&email, password).await?;
        let token = self.tokens.issue(user)?;
        Ok(Response::new(proto::Token { token, ..Default::default() }))
    }

    async fn validate_token(&self, request: Request<proto::Token>) -> Result<Response<proto::Token>, Status> {
        self.tokens.check(&request.get_ref().token)?;
        Ok(Response::new(proto::Token { valid: true, ..Default::default() }))
    }
}

fn one(user: User) -> proto::Response {
    proto::Response { user: Some(user.into()), ..Default::default() }
}

impl From<User> for proto::User {
    fn from(user: User) -> Self {
        let User { id, name, company, email } = user;
        Self { id: id.to_string(), name, company, email, password: String::new() }
    }
}

fn page_of(request: &proto::Request) -> Result<(Option<UserId>, u32), Status> {
    let size = match u32::try_from(request.page_size) {
        Ok(0) => PAGE,
        Ok(size) => size.min(PAGE),
        Err(_) => return Err(Status::invalid_argument("page_size must not be negative")),
    };
    let after = match request.page_token.as_str() {
        "" => None,
        token => {
            let id = token.parse();
            Some(id.map_err(|_| Status::invalid_argument("page_token must be the next_page_token of an answer"))?)
        }
    };
    Ok((after, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(page_size: i32, page_token: &str) -> Result<(Option<UserId>, u32), Status> {
        page_of(&proto::Request { page_size, page_token: page_token.into() })
    }

    #[test]
    fn a_page_has_1000_users_unless_fewer_are_asked_for() {
        for (size, given) in [(0, 1_000), (1, 1), (1_000, 1_000), (1_001, 1_000), (i32::MAX, 1_000)] {
            assert_eq!(asked(size, "").unwrap(), (None, given));
        }
    }

    #[test]
    fn a_wrong_page_is_refused_by_the_fields_name() {
        assert!(asked(-1, "").unwrap_err().message().starts_with("page_size"));
        for token in ["x", "\0", " ", "0190b2a4"] {
            let refused = asked(0, token).unwrap_err();
            assert_eq!(refused.code(), tonic::Code::InvalidArgument);
            assert!(refused.message().starts_with("page_token"));
        }
    }
}
