//! Who may make which call: decided in one place, by the call's name, before its message is read.

use std::{
    convert::Infallible,
    future::ready,
    sync::Arc,
    task::{Context, Poll},
};

// The names that generated code has for them too.
use tonic::codegen::{
    BoxFuture, Service,
    http::{HeaderMap, Request, Response},
};
use tonic::{Status, body::Body, server::NamedService};

use super::Users;
use crate::{proto::user_service_server::UserServiceServer, token::Tokens};

/// The calls that nobody needs a token for: who makes them has none yet, or shows it as the message.
const OPEN_TO_ALL: [&str; 3] = [
    "/go.micro.srv.user.UserService/Create",
    "/go.micro.srv.user.UserService/Auth",
    "/go.micro.srv.user.UserService/ValidateToken",
];

/// Who may make the other calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anyone, as with the tutorial's service.
    Open,
    /// Who shows a token that holds, in `authorization: Bearer <token>`.
    Token,
}

/// The service's calls, refused to who may not make them. A call that is added later is refused too, until it is named here.
#[derive(Clone, Debug)]
pub struct Guarded {
    calls: UserServiceServer<Users>,
    access: Access,
    tokens: Arc<Tokens>,
}

impl Guarded {
    /// Guards `calls` as `access` says, with these tokens.
    #[must_use]
    pub fn new(calls: UserServiceServer<Users>, access: Access, tokens: Arc<Tokens>) -> Self {
        Self { calls, access, tokens }
    }

    fn admit(&self, request: &Request<Body>) -> Result<(), Status> {
        if self.access == Access::Open || OPEN_TO_ALL.contains(&request.uri().path()) {
            return Ok(());
        }
        let token = bearer(request.headers());
        let token = token.ok_or_else(|| Status::unauthenticated("this call needs `authorization: Bearer <token>`"))?;
        self.tokens.check(token)?;
        Ok(())
    }
}

impl Service<Request<Body>> for Guarded {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Response<Body>, Infallible>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request<Body>>::poll_ready(&mut self.calls, cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match self.admit(&request) {
            Ok(()) => self.calls.call(request),
            Err(refused) => Box::pin(ready(Ok(refused.into_http()))),
        }
    }
}

impl NamedService for Guarded {
    const NAME: &'static str = UserServiceServer::<Users>::NAME;
}

/// The token of the `authorization` header, whose scheme is told apart by no case (RFC 7235, 2.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get("authorization")?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_token_is_found_whatever_the_case_of_its_scheme() {
        let with = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("authorization", value.parse().unwrap());
            bearer(&headers).map(str::to_owned)
        };
        assert_eq!(with("Bearer a.b.c").as_deref(), Some("a.b.c"));
        assert_eq!(with("bearer  a.b.c ").as_deref(), Some("a.b.c"));
        assert_eq!(with("Basic a.b.c"), None);
        assert_eq!(with("a.b.c"), None);
        assert_eq!(bearer(&HeaderMap::new()), None);
    }
}
