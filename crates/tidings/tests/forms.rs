//! Every form of a handler that the documentation promises, as users write it. Most of the test is that it compiles.
#![allow(clippy::too_many_arguments, reason = "up to eight extractors are allowed")]

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidings::{
    Event, Failure, FromRef, Handler, Handlers, Message, Meta, Order, Publisher, Reject, Retry, Start, State,
    handlers::{Context, Early, Extract},
};

#[derive(Clone, Event, Serialize, Deserialize)]
#[event(topic = "user.created", key = "id")]
struct UserCreated {
    id: u64,
    email: String,
}

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "user.changed")]
struct UserChanged;

#[derive(Clone)]
struct Mailer;

#[derive(Debug, thiserror::Error)]
#[error("the server said {0}")]
struct SmtpError(u16);

impl Mailer {
    async fn send(&self, _: &UserCreated) -> Result<(), SmtpError> {
        Ok(())
    }
}

fn check(user: &UserCreated) -> Result<(), std::num::ParseIntError> {
    user.email.parse::<u8>().map(|_| ())
}

async fn welcome(user: UserCreated, State(mailer): State<Mailer>) -> Result<(), Failure> {
    mailer.send(&user).await?;
    check(&user).reject()?;
    Ok(())
}

async fn plain(_: UserCreated) {}

async fn own_error(_: UserCreated) -> Result<(), SmtpError> {
    Err(SmtpError(451))
}

async fn any_error(_: UserCreated, meta: Meta, publisher: Publisher) -> anyhow::Result<()> {
    anyhow::ensure!(meta.attempt() > 1, "too early");
    publisher.publish(&UserChanged).await?;
    Ok(())
}

async fn eyre_error(user: UserCreated) -> eyre::Result<()> {
    check(&user)?;
    Ok(())
}

async fn boxed_error(user: UserCreated) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    check(&user)?;
    Err("no".into())
}

async fn text_error(_: UserCreated) -> Result<(), String> {
    Err("no".to_owned())
}

async fn words(user: UserCreated) -> Result<(), Failure> {
    if user.id == 0 {
        return Err("no id".into());
    }
    check(&user).retry_after(Duration::from_secs(5))?;
    anyhow::Context::context(check(&user), "checking the address")?;
    Err(Failure::reject(format!("user {} again", user.id)))
}

async fn audit(_: Message, _: Meta) {}

async fn generic<E: Event>(_: E) -> Result<(), Failure> {
    Ok(())
}

async fn many(
    _: UserCreated,
    _: Meta,
    _: Publisher,
    _: State<Mailer>,
    _: Meta,
    _: Publisher,
    _: State<Mailer>,
    _: Meta,
    _: Publisher,
) {
}

async fn many_of_all(
    _: Message,
    _: Meta,
    _: Publisher,
    _: State<Mailer>,
    _: Meta,
    _: Publisher,
    _: State<Mailer>,
    _: Meta,
    _: Publisher,
) {
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn functions_of_every_kind_are_handlers() {
    let handlers: Handlers = Handlers::new()
        .on(welcome)
        .on(many)
        .on_topic("user.>", many_of_all)
        .with_state(Mailer)
        .on(plain)
        .on(own_error)
        .on(any_error)
        .on(eyre_error)
        .on(boxed_error)
        .on(text_error)
        .on(words)
        .on(generic::<UserCreated>)
        .on_topic("user.>", audit);
    assert!(format!("{handlers:?}").starts_with("[\"forms::welcome\", \"forms::many\""), "{handlers:?}");
}

#[test]
fn closures_are_handlers() {
    let mailer = Mailer;
    let _: Handlers = Handlers::new()
        .on(|_: UserCreated| async move {})
        .on(async |_: UserCreated| {})
        .on(move |user: UserCreated| {
            let mailer = mailer.clone();
            async move { mailer.send(&user).await }
        })
        .on(async |user: UserCreated, meta: Meta| -> Result<(), Failure> {
            check(&user)?;
            drop(meta);
            Ok(())
        })
        .on(async |user: UserCreated, State(mailer): State<Mailer>| mailer.send(&user).await)
        .on((|_: UserCreated| async {}).group("other").timeout(secs(1)))
        .on_topic("user.*", |_: Message| async {})
        .on_topic("user.*", async |_: Message| anyhow::Ok(()))
        .with_state(Mailer);
}

#[test]
fn options_are_said_where_a_handler_is_registered() {
    let day = secs(24 * 3600);
    let _: Handlers = Handlers::new()
        .on(welcome
            .group("mail")
            .retry(Retry::exponential(secs(1), secs(900)).for_at_most(day))
            .order(Order::None)
            .concurrency(8)
            .timeout(secs(10)))
        .on(plain.each_instance())
        .on(generic::<UserChanged>.start(Start::First).retry(Retry::never()))
        .on_topic("user.>", audit.group("audit"))
        .group("all")
        .retry(Retry::exponential(secs(1), secs(20)).attempts(3).factor(3))
        .order(Order::Key)
        .concurrency(4)
        .timeout(secs(20))
        .start(Start::Now)
        .with_state(Mailer);
}

#[derive(Clone)]
struct App {
    mailer: Mailer,
    name: String,
}

impl FromRef<App> for Mailer {
    fn from_ref(app: &App) -> Self {
        app.mailer.clone()
    }
}

impl FromRef<App> for String {
    fn from_ref(app: &App) -> Self {
        app.name.clone()
    }
}

async fn named(_: UserChanged, _: State<String>, _: State<Mailer>, _: State<App>) {}

#[test]
fn states_are_parts_of_one_or_come_one_after_the_other() {
    let app = App { mailer: Mailer, name: "app".into() };
    let parts: Handlers = Handlers::new().on(welcome).on(named).with_state(app.clone());
    let in_turn: Handlers = Handlers::new().on(welcome).with_state(Mailer).on(named).with_state(app.clone()).on(plain);
    let merged: Handlers =
        Handlers::new().on(named).merge(Handlers::new().on(welcome)).with_state(app).merge(parts).merge(in_turn);
    assert_eq!(format!("{merged:?}").matches("forms::welcome").count(), 3);
}

struct Tenant(String);

impl<S: Sync> Extract<S> for Tenant {
    async fn extract(context: &mut Context, _: &S) -> Result<Self, Early> {
        let tenant = context.message().headers().get("tenant").ok_or("no tenant")?;
        if tenant.is_empty() {
            return Err(Early::Handled);
        }
        Ok(Self(tenant.parse::<String>().reject()?))
    }
}

#[test]
fn extractors_and_layers_of_the_users_own_are_taken() {
    let _: Handlers = Handlers::new()
        .on(|_: UserCreated, Tenant(tenant): Tenant| async move { drop(tenant) })
        .layer(tower::timeout::TimeoutLayer::new(secs(1)))
        .layer(tower::limit::ConcurrencyLimitLayer::new(1))
        .layer(tower::ServiceBuilder::new().load_shed().map_request(|context: Context| context).into_inner());
}
