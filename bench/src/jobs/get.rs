//! The user-service's Get against a bare tonic handler with the same query.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::{Result, anyhow};
use tidings::database::Database;
use tokio::{net::TcpListener, time::Instant};
use tonic::{
    Request, Response, Status,
    transport::{Channel, Endpoint},
};
use users::proto::{
    Request as Page, Response as Users, Token, User,
    user_service_client::UserServiceClient,
    user_service_server::{UserService, UserServiceServer},
};

use super::{Comparison, On, Window, outbox::outbox, sent::rate, variant};

/// Calls that are open at any time.
const CALLERS: usize = 16;

pub(super) fn all() -> Vec<Comparison> {
    vec![Comparison {
        name: "users Get",
        about: "Get of a user on SQLite by 16 callers at once, against a bare tonic server with the same query.",
        unit: "calls/s",
        ground: On::Nothing,
        current_thread: false,
        variants: vec![variant!("tonic and sqlx", bare), variant!("users" >= 0.9, service)],
    }]
}

struct Bare(sqlx::SqlitePool);

#[tonic::async_trait]
impl UserService for Bare {
    async fn get(&self, request: Request<User>) -> Result<Response<Users>, Status> {
        let found: Option<(String, String, String, String)> =
            sqlx::query_as("SELECT id, name, company, email FROM users WHERE id = $1")
                .bind(request.into_inner().id)
                .fetch_optional(&self.0)
                .await
                .map_err(|error| Status::unavailable(error.to_string()))?;
        let (id, name, company, email) = found.ok_or_else(|| Status::not_found("no such user"))?;
        Ok(Response::new(Users { user: Some(User { id, name, company, email, ..User::default() }), ..Users::default() }))
    }
    async fn create(&self, _: Request<User>) -> Result<Response<Users>, Status> {
        Err(Status::unimplemented("only Get"))
    }
    async fn get_all(&self, _: Request<Page>) -> Result<Response<Users>, Status> {
        Err(Status::unimplemented("only Get"))
    }
    async fn auth(&self, _: Request<User>) -> Result<Response<Token>, Status> {
        Err(Status::unimplemented("only Get"))
    }
    async fn validate_token(&self, _: Request<Token>) -> Result<Response<Token>, Status> {
        Err(Status::unimplemented("only Get"))
    }
}

async fn bare(window: Window) -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let (running, id) = users_service(&folder).await?;
    let _ = running.stop().await;
    let url = format!("sqlite:{}", folder.path().join("users.db").display());
    let (_service, database, _outbox) = outbox(&url, 16).await?;
    let Database::Sqlite(pool) = database else { return Err(anyhow!("not of SQLite")) };
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    drop(listener);
    tokio::spawn(tonic::transport::Server::builder().add_service(UserServiceServer::new(Bare(pool))).serve(address));
    load(address, id, window).await
}

async fn service(window: Window) -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let (running, id) = users_service(&folder).await?;
    let address = running.grpc_address().ok_or_else(|| anyhow!("no gRPC address"))?;
    let rate = load(address, id, window).await?;
    let _ = running.stop().await;
    Ok(rate)
}

/// The real one, with one user.
async fn users_service(folder: &tempfile::TempDir) -> Result<(tidings::service::Running, String)> {
    let failed = |error: tidings::Error| anyhow!("{error}");
    let data = folder.path().display().to_string();
    let arguments =
        ["users", "--data", &data, "--address", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--broker", "memory:", "--log", "warn"];
    let service = users::builder().arguments(arguments).environment::<&str, &str>([]).init().map_err(failed)?;
    let running = users::assemble(service).await.map_err(failed)?.start().await.map_err(failed)?;
    let address = running.grpc_address().ok_or_else(|| anyhow!("no gRPC address"))?;
    let user = User { name: "Ada".into(), email: "ada@example.com".into(), password: "correct horse".into(), ..User::default() };
    let created = connect(address).await?.create(user).await?.into_inner();
    Ok((running, created.user.ok_or_else(|| anyhow!("no user"))?.id))
}

async fn connect(address: SocketAddr) -> Result<UserServiceClient<Channel>> {
    let end = Instant::now() + std::time::Duration::from_secs(5);
    loop {
        match Endpoint::from_shared(format!("http://{address}"))?.connect().await {
            Ok(channel) => return Ok(UserServiceClient::new(channel)),
            Err(error) if Instant::now() > end => return Err(error.into()),
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

async fn load(address: SocketAddr, id: String, window: Window) -> Result<f64> {
    let count = Arc::new(AtomicU64::new(0));
    let client = connect(address).await?;
    let begun = Instant::now();
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..CALLERS {
        let (mut client, id, count) = (client.clone(), id.clone(), Arc::clone(&count));
        callers.spawn(async move {
            while begun.elapsed() < window.time {
                client.get(User { id: id.clone(), ..User::default() }).await?;
                count.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<_, Status>(())
        });
    }
    while let Some(ended) = callers.join_next().await {
        ended??;
    }
    Ok(rate(count.load(Ordering::Relaxed), begun))
}
