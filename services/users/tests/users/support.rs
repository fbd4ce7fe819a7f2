//! The whole service in this process, on free ports and data of its own.

use std::path::Path;

use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use tidings::service::Running;
use tidings_testing::servers::folder;
use tonic::{
    Request, Status,
    codegen::http::uri::PathAndQuery,
    transport::{Channel, Endpoint},
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient, server_reflection_request::MessageRequest,
    server_reflection_response::MessageResponse,
};
use users::proto::{self, User, user_service_client::UserServiceClient};

/// The table that gorm made of the tutorial's `pb.User`.
pub(crate) const TUTORIAL: &str = r#"CREATE TABLE "users" ("id" text, "name" text, "company" text, "email" text, "password" text,
    PRIMARY KEY ("id"))"#;

/// A user-service that runs.
pub(crate) struct Users {
    running: Running,
    channel: Channel,
}

impl Users {
    pub(crate) async fn start(flags: &[&str]) -> Self {
        Self::start_in(&folder("users"), flags).await
    }

    /// Starts it on the data in `folder`.
    pub(crate) async fn start_in(folder: &Path, flags: &[&str]) -> Self {
        let own = ["--broker", "memory:", "--address", "127.0.0.1:0", "--data", folder.to_str().unwrap()];
        Self::start_with(&[&own, flags].concat(), &[]).await
    }

    /// Starts it on these settings alone.
    pub(crate) async fn start_with(flags: &[&str], environment: &[(&str, &str)]) -> Self {
        let arguments = [&["users", "--admin", "127.0.0.1:0"], flags].concat();
        let arguments = arguments.into_iter().map(str::to_owned);
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let service = users::builder().arguments(arguments).environment(environment).init().unwrap();
        let running = users::assemble(service).await.unwrap().start().await.unwrap();
        let url = format!("http://{}", running.grpc_address().unwrap());
        let channel = Endpoint::from_shared(url).unwrap().connect_lazy();
        Self { running, channel }
    }

    pub(crate) fn address(&self) -> String {
        self.running.grpc_address().unwrap().to_string()
    }

    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    pub(crate) fn client(&self) -> UserServiceClient<Channel> {
        UserServiceClient::new(self.channel())
    }

    /// A call that the service does not have yet.
    pub(crate) async fn later_call(&self, request: Request<User>) -> Result<(), Status> {
        let path = PathAndQuery::from_static("/go.micro.srv.user.UserService/Delete");
        let mut grpc = tonic::client::Grpc::new(self.channel());
        grpc.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<User, proto::Response>::default();
        grpc.unary(request, path, codec).await.map(drop)
    }

    /// The services that reflection lists.
    pub(crate) async fn reflected_services(&self) -> Vec<String> {
        let list =
            ServerReflectionRequest { host: String::new(), message_request: Some(MessageRequest::ListServices(String::new())) };
        let mut client = ServerReflectionClient::new(self.channel());
        let mut answers = client.server_reflection_info(tokio_stream::once(list)).await.unwrap().into_inner();
        let answer = answers.message().await.unwrap().unwrap().message_response;
        let Some(MessageResponse::ListServicesResponse(list)) = answer else { panic!("{answer:?}") };
        list.service.into_iter().map(|service| service.name).collect()
    }
}

/// The service's database in `folder`, before it was ever started there.
pub(crate) async fn database_in(folder: &Path) -> SqliteConnection {
    let file = SqliteConnectOptions::new().filename(folder.join("users.db")).create_if_missing(true);
    SqliteConnection::connect_with(&file).await.unwrap()
}

pub(crate) fn ada() -> User {
    User {
        name: "Ada".into(),
        company: "Engines".into(),
        email: "ada@example.com".into(),
        password: "correct horse".into(),
        ..Default::default()
    }
}

pub(crate) fn with_password(email: &str, password: &str) -> User {
    User { email: email.into(), password: password.into(), ..Default::default() }
}

pub(crate) fn with_token<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}
