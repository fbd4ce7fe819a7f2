//! The settings that every service has.

use std::time::Duration;

use super::setting::{Group, Reach, Setting};

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

const fn hours(n: u64) -> Duration {
    Duration::from_secs(n * 3600)
}

/// The most that is accepted of what is counted in memory, so that a slip of the finger is not a crash later.
const MANY: u64 = 1 << 20;

/// All of them that this program was built for, in the order in which they are shown.
pub(crate) fn table() -> Vec<Setting> {
    let mut table = [service(), events()].concat();
    if cfg!(any(feature = "postgres", feature = "sqlite")) {
        table.extend([outbox(), database()].concat());
    }
    if cfg!(feature = "grpc") {
        table.extend(grpc());
    }
    table.extend([http(), log()].concat());
    table
}

fn service() -> Vec<Setting> {
    let settings = [
        Setting::text("name")
            .made("the service's own name")
            .reach(Reach::One)
            .go_micro("server_name")
            .help("What it is called: the source of its events, and its group"),
        Setting::text("id")
            .made("a new UUID")
            .reach(Reach::One)
            .go_micro("server_id")
            .help("What tells this instance from others of the service"),
        Setting::path("data").default("data").help("The folder for what it keeps; `<data>` in other settings"),
        Setting::path("config").reach(Reach::Process).help("A TOML file with settings, by the names of the flags"),
        Setting::address("admin")
            .default("127.0.0.1:0")
            .reach(Reach::One)
            .help("Where /healthz, /readyz and /metrics are served"),
        Setting::duration("wait")
            .default("30s")
            .between(ms(0), hours(24))
            .help("How long an absent database or broker is waited for at start"),
        Setting::duration("drain")
            .default("25s")
            .between(ms(100), hours(1))
            .help("How long stopping may take: four fifths for calls and handlers, the rest for what they leave"),
    ];
    settings.map(|setting| setting.group(Group::Service)).into()
}

fn events() -> Vec<Setting> {
    let settings = [
        Setting::url("broker")
            .default("sqlite:<data>/broker.db")
            .go_micro("broker")
            .help("What carries events; `nats` with --broker_address is go-micro's NATS"),
        Setting::number("in-flight")
            .default("256")
            .between(1, MANY)
            .help("The most messages of a subscription that run or wait for a free handler"),
        Setting::number("concurrency")
            .default("64")
            .between(1, MANY)
            .help("The most handlers of a subscription that run at once"),
        Setting::number("parked")
            .default("4096")
            .between(1, MANY)
            .help("The most messages of a subscription that wait for a retry, or behind one of their key"),
        Setting::size("parked-bytes").default("64MiB").between(64 << 10, 1 << 40).help("The most bytes of such messages"),
        Setting::duration("handler-timeout")
            .default("30s")
            .between(ms(10), hours(24))
            .help("How long one attempt of a handler may take, where the handler says nothing else"),
        Setting::number("retry-attempts")
            .default("5")
            .between(1, 10_000)
            .help("How often a message is tried before it is a dead letter, where the handler says nothing else"),
        Setting::duration("retry-first")
            .default("100ms")
            .between(ms(1), hours(1))
            .help("The longest wait after the first failure; it grows threefold each time"),
        Setting::duration("retry-longest").default("30s").between(ms(1), hours(720)).help("The longest wait after any failure"),
    ];
    settings.map(|setting| setting.group(Group::Events)).into()
}

fn outbox() -> Vec<Setting> {
    let settings = [
        Setting::switch("outbox-key-locks")
            .default("true")
            .help("Events of one key keep their order even when their transactions share no row (Postgres; it has a price)"),
        Setting::choice("outbox-wake", &["poll", "notify"])
            .default("poll")
            .help("How the relay learns of other processes' events: every 200 ms to 1 s, or by Postgres' NOTIFY"),
        Setting::duration("transaction-timeout")
            .default("2s")
            .between(ms(10), hours(1))
            .help("How long a handler may keep a SQLite transaction, in which nobody else can write, where it says nothing else"),
        Setting::duration("inbox-keep")
            .default("7d")
            .between(hours(1), hours(24 * 365))
            .help("How long a handled message is remembered; longer where the broker keeps messages longer"),
    ];
    settings.map(|setting| setting.group(Group::Events)).into()
}

fn database() -> Vec<Setting> {
    let settings = [
        Setting::url("database")
            .default("sqlite:<data>/<service>.db")
            .reach(Reach::One)
            .help("The service's own database: sqlite:PATH or postgres://USER:PASSWORD@HOST/NAME"),
        Setting::number("database-connections").default("16").between(1, 10_000).help("The most connections to it"),
        Setting::duration("database-acquire")
            .default("3s")
            .between(ms(10), hours(1))
            .help("How long a caller waits for a free connection before it gets an error"),
    ];
    settings.map(|setting| setting.group(Group::Database)).into()
}

fn grpc() -> Vec<Setting> {
    let settings = [
        Setting::address("address").default("127.0.0.1:50051").go_micro("server_address").help("Where gRPC is served"),
        Setting::size("grpc-message")
            .default("4MiB")
            .between(1 << 10, 1 << 31)
            .help("The largest message that a caller may send"),
        Setting::duration("grpc-deadline")
            .default("30s")
            .between(ms(10), hours(24))
            .help("How long a call may take before it is answered; a caller's own shorter deadline counts too"),
        Setting::number("grpc-streams").default("1024").between(1, MANY).help("The most calls at once on one connection"),
    ];
    settings.map(|setting| setting.group(Group::Grpc)).into()
}

fn http() -> Vec<Setting> {
    vec![Setting::address("http").group(Group::Http).help("Where the HTTP router is served")]
}

fn log() -> Vec<Setting> {
    let settings = [
        Setting::text("log").default("info").help("What is logged: error, warn, info, debug, trace, off, or TARGET=LEVEL,…"),
        Setting::choice("log-format", &["text", "json"]).default("text").help("How it is logged"),
    ];
    settings.map(|setting| setting.group(Group::Log).reach(Reach::Process)).into()
}
