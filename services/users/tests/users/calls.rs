//! The calls, made by a real client over a real connection to the whole service.

use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Connection};
use tidings_testing::servers::{Nats, Postgres, folder};
use tonic::{Code, Request, Status};
use users::proto::{self, Token, User};

use crate::support::{self, Users, ada, database_in, with_password, with_token};

/// Of `test123`, by golang.org/x/crypto/bcrypt, `DefaultCost`.
const GO_HASH: &str = "$2a$10$DI8yy7IV7SwBZRQh2pD66OqoKJPbvL8EB1GbwmSdru2RS0EkXmoW2";
const FLOOR: Duration = Duration::from_millis(150);

fn refused<T: std::fmt::Debug>(answer: Result<T, Status>, code: Code) -> String {
    let status = answer.unwrap_err();
    assert_eq!(status.code(), code, "{status:?}");
    status.message().to_owned()
}

#[tokio::test]
async fn a_new_user_is_answered_with_its_id_and_without_its_password() {
    let users = Users::start(&[]).await;
    let mut client = users.client();
    let asked = User { id: "mine".into(), email: "Ada@Example.com".into(), ..ada() };
    let created = client.create(asked).await.unwrap().into_inner().user.unwrap();
    assert_eq!(created, User { id: created.id.clone(), password: String::new(), ..ada() });
    assert_ne!(created.id, "mine");
    let got = client.get(User { id: created.id.clone(), ..Default::default() }).await.unwrap().into_inner();
    assert_eq!(got.user, Some(created.clone()));
    let all = client.get_all(proto::Request::default()).await.unwrap().into_inner();
    assert_eq!((all.users, all.next_page_token), (vec![created], String::new()));
}

#[tokio::test]
async fn a_wrong_field_is_an_invalid_argument_that_names_it() {
    let users = Users::start(&[]).await;
    let mut client = users.client();
    for (field, user) in [
        ("name", User { name: String::new(), ..ada() }),
        ("name", User { name: "x".repeat(201), ..ada() }),
        ("company", User { company: "x".repeat(201), ..ada() }),
        ("email", User { email: "ada".into(), ..ada() }),
        ("email", User { email: format!("{}@x", "a".repeat(254)), ..ada() }),
        ("password", User { password: "short".into(), ..ada() }),
        ("password", User { password: "x".repeat(129), ..ada() }),
    ] {
        let said = refused(client.create(user).await, Code::InvalidArgument);
        assert!(said.starts_with(field), "{said}");
    }
    let said = refused(client.get(User { id: "7".into(), ..Default::default() }).await, Code::InvalidArgument);
    assert!(said.starts_with("id"), "{said}");
    let nobody = User { id: "0190b2a4-7e1d-7c2f-8000-0123456789ab".into(), ..Default::default() };
    refused(client.get(nobody).await, Code::NotFound);
}

#[tokio::test]
async fn an_email_belongs_to_one_user_in_whatever_case() {
    let users = Users::start(&[]).await;
    let mut client = users.client();
    client.create(ada()).await.unwrap();
    refused(client.create(User { email: "ADA@example.COM".into(), ..ada() }).await, Code::AlreadyExists);
}

#[tokio::test]
async fn who_logs_in_gets_a_token_that_holds() {
    for algorithm in ["EdDSA", "HS256"] {
        let users = Users::start(&["--auth-algorithm", algorithm]).await;
        let mut client = users.client();
        client.create(ada()).await.unwrap();
        let answer = client.auth(with_password("ADA@example.com", "correct horse")).await.unwrap().into_inner();
        assert!(!answer.valid && answer.errors.is_empty(), "only the token, as the tutorial answered");
        let token = Token { token: answer.token, ..Default::default() };
        let answer = client.validate_token(token).await.unwrap().into_inner();
        assert_eq!(answer, Token { valid: true, ..Default::default() });
    }
}

#[tokio::test]
async fn a_token_that_does_not_hold_is_unauthenticated() {
    let users = Users::start(&[]).await;
    let mut client = users.client();
    let none = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEifQ.";
    let tutorials = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJVc2VyIjp7ImlkIjoiMSJ9LCJleHAiOjQwMDAwMDAwMDAsImlzcyI6ImdvLm1pY3JvLnNydi51c2VyIn0.c2lnbmF0dXJl";
    for token in ["", "x", "a.b.c", none, tutorials] {
        let token = Token { token: token.into(), ..Default::default() };
        refused(client.validate_token(token).await, Code::Unauthenticated);
    }
}

#[tokio::test]
async fn a_wrong_email_and_a_wrong_password_cannot_be_told_apart() {
    let users = Users::start(&[]).await;
    let mut client = users.client();
    client.create(ada()).await.unwrap();
    let mut answers = Vec::new();
    for (email, password) in [
        ("ada@example.com", "wrong horse"),
        ("nobody@example.com", "correct horse"),
        ("ada@example.com", ""),
        ("", ""),
        ("\0", "\0"),
    ] {
        let began = Instant::now();
        let status = client.auth(with_password(email, password)).await.unwrap_err();
        assert!(began.elapsed() >= FLOOR, "{email:?}: {:?}", began.elapsed());
        answers.push((status.code(), status.message().to_owned()));
    }
    answers.dedup();
    assert_eq!(answers, [(Code::Unauthenticated, "e-mail or password is wrong".to_owned())]);
}

#[tokio::test]
async fn a_user_of_the_tutorials_logs_in_and_gets_a_new_hash() {
    let folder = folder("users");
    let mut database = database_in(&folder).await;
    let id = "1b4e28ba-2fa1-41d2-883f-0016d3cca427";
    let row = format!("INSERT INTO users VALUES ('{id}', 'Ewan', 'BBC', 'Ewan@Example.com', '{GO_HASH}')");
    for sql in [support::TUTORIAL.to_owned(), row] {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut database).await.unwrap();
    }
    let users = Users::start_in(&folder, &[]).await;
    let mut client = users.client();
    let began = Instant::now();
    refused(client.auth(with_password("ewan@example.com", "test124")).await, Code::Unauthenticated);
    assert!(began.elapsed() >= FLOOR);
    for _ in 0..2 {
        client.auth(with_password("ewan@example.com", "test123")).await.unwrap();
        let hash: String = sqlx::query_scalar("SELECT password FROM users").fetch_one(&mut database).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
    }
}

#[tokio::test]
async fn an_old_client_gets_the_first_thousand_and_a_new_one_all_pages() {
    let folder = folder("users");
    let mut database = database_in(&folder).await;
    let rows: Vec<String> = (0..1_001).map(|n| format!("('00000000-0000-4000-8000-{n:012}', 'n', '', 'u{n}@x', '')")).collect();
    for sql in [support::TUTORIAL.to_owned(), format!("INSERT INTO users VALUES {}", rows.join(","))] {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut database).await.unwrap();
    }
    database.close().await.unwrap();
    let users = Users::start_in(&folder, &[]).await;
    let mut client = users.client();
    let first = client.get_all(proto::Request::default()).await.unwrap().into_inner();
    assert_eq!(first.users.len(), 1_000);
    assert!(first.users.is_sorted_by_key(|user| user.id.clone()));
    let rest = proto::Request { page_token: first.next_page_token, ..Default::default() };
    let rest = client.get_all(rest).await.unwrap().into_inner();
    assert_eq!((rest.users.len(), rest.next_page_token.as_str()), (1, ""));

    let mut seen = 0;
    let mut asked = proto::Request { page_size: 400, ..Default::default() };
    loop {
        let page = client.get_all(asked.clone()).await.unwrap().into_inner();
        seen += page.users.len();
        asked.page_token = page.next_page_token;
        if asked.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, 1_001);
    refused(client.get_all(proto::Request { page_size: -1, ..Default::default() }).await, Code::InvalidArgument);
    refused(client.get_all(proto::Request { page_token: "x".into(), ..Default::default() }).await, Code::InvalidArgument);
}

#[tokio::test]
async fn where_a_token_is_required_reading_needs_one_and_the_rest_does_not() {
    let users = Users::start(&["--require-auth"]).await;
    let mut client = users.client();
    let created = client.create(ada()).await.unwrap().into_inner().user.unwrap();
    let get = User { id: created.id.clone(), ..Default::default() };
    refused(client.get(get.clone()).await, Code::Unauthenticated);
    refused(client.get_all(proto::Request::default()).await, Code::Unauthenticated);
    refused(client.get(with_token(get.clone(), "a.b.c")).await, Code::Unauthenticated);
    refused(users.later_call(Request::new(ada())).await, Code::Unauthenticated);

    let token = client.auth(with_password("ada@example.com", "correct horse")).await.unwrap().into_inner().token;
    assert_eq!(client.get(with_token(get, &token)).await.unwrap().into_inner().user, Some(created));
    client.get_all(with_token(proto::Request::default(), &token)).await.unwrap();
    refused(users.later_call(with_token(ada(), &token)).await, Code::Unimplemented);
    client.validate_token(Token { token, ..Default::default() }).await.unwrap();

    let mut health = tonic_health::pb::health_client::HealthClient::new(users.channel());
    for service in ["", "go.micro.srv.user.UserService"] {
        let asked = tonic_health::pb::HealthCheckRequest { service: service.into() };
        let status = health.check(asked).await.unwrap().into_inner().status();
        assert_eq!(status, tonic_health::pb::health_check_response::ServingStatus::Serving, "{service}");
    }
    assert!(users.reflected_services().await.contains(&"go.micro.srv.user.UserService".to_owned()));
}

#[tokio::test]
async fn the_environment_of_the_tutorials_makefile_works_unchanged() {
    let (Some(postgres), Some(nats)) = (Postgres::start().await, Nats::start().await) else { return };
    let (postgres, nats) = (postgres.url(), nats.url());
    let place = |url: &str| url.split(['@', '/']).find(|part| part.contains(':') && part.contains('.')).unwrap().to_owned();
    let folder = folder("users");
    let users = Users::start_with(
        &["--data", folder.to_str().unwrap()],
        &[
            ("DB_HOST", &place(&postgres)),
            ("DB_USER", "postgres"),
            ("DB_PASS", "password"),
            ("MICRO_SERVER_ADDRESS", ":0"),
            ("MICRO_REGISTRY", "mdns"),
            ("MICRO_BROKER", "nats"),
            ("MICRO_BROKER_ADDRESS", &place(&nats)),
        ],
    )
    .await;
    users.client().create(ada()).await.unwrap();
    let mut database = sqlx::PgConnection::connect(&postgres).await.unwrap();
    let stored: String = sqlx::query_scalar("SELECT email FROM users").fetch_one(&mut database).await.unwrap();
    assert_eq!(stored, "ada@example.com");
}

#[tokio::test]
async fn while_the_database_is_away_every_call_that_needs_it_is_unavailable() {
    let Some(mut postgres) = Postgres::start().await else { return };
    let database = postgres.database().await;
    let users = Users::start(&["--database", &database, "--database-acquire", "300ms"]).await;
    let mut client = users.client();
    let created = client.create(ada()).await.unwrap().into_inner().user.unwrap();
    let token = client.auth(with_password("ada@example.com", "correct horse")).await.unwrap().into_inner();
    postgres.stop().await;
    every_call_that_needs_the_database_is_unavailable(&users, &created).await;
    client.validate_token(token).await.expect("a token needs no database");
    postgres.restart().await;
    client.get(User { id: created.id, ..Default::default() }).await.unwrap();
}

#[tokio::test]
async fn a_database_that_was_dropped_is_an_absent_one() {
    let Some(postgres) = Postgres::shared().await else { return };
    let database = postgres.database().await;
    let users = Users::start(&["--database", &database]).await;
    let created = users.client().create(ada()).await.unwrap().into_inner().user.unwrap();
    let name = database.rsplit('/').next().unwrap();
    postgres.sql(&postgres.url(), &format!("DROP DATABASE {name} WITH (FORCE)")).await;
    every_call_that_needs_the_database_is_unavailable(&users, &created).await;
}

#[tokio::test]
async fn a_database_that_lets_the_service_in_no_more_is_an_absent_one() {
    let Some(postgres) = Postgres::shared().await else { return };
    let database = postgres.database().await;
    let name = database.rsplit('/').next().unwrap();
    let role = format!("role_of_{name}");
    let owned = format!("CREATE ROLE {role} LOGIN; ALTER DATABASE {name} OWNER TO {role}");
    postgres.sql(&postgres.url(), &owned).await;
    let as_role = database.replace("postgres@", &format!("{role}@"));
    let users = Users::start(&["--database", &as_role]).await;
    let created = users.client().create(ada()).await.unwrap().into_inner().user.unwrap();
    postgres.sql(&postgres.url(), &format!("ALTER ROLE {role} NOLOGIN")).await;
    let cut = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'");
    postgres.sql(&postgres.url(), &cut).await;
    every_call_that_needs_the_database_is_unavailable(&users, &created).await;
    postgres.sql(&postgres.url(), &format!("ALTER ROLE {role} LOGIN")).await;
    users.client().get(User { id: created.id, ..Default::default() }).await.unwrap();
}

async fn every_call_that_needs_the_database_is_unavailable(users: &Users, created: &User) {
    let mut client = users.client();
    for _ in 0..2 {
        let get = User { id: created.id.clone(), ..Default::default() };
        refused(client.get(get).await, Code::Unavailable);
        refused(client.create(User { email: "b@x".into(), ..ada() }).await, Code::Unavailable);
        refused(client.get_all(Request::new(proto::Request::default())).await, Code::Unavailable);
        refused(client.auth(with_password("ada@example.com", "correct horse")).await, Code::Unavailable);
    }
}
