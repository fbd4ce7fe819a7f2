use std::time::Duration;

use sqlx::{AssertSqlSafe, sqlite::SqliteConnectOptions, sqlite::SqlitePoolOptions};
use tempfile::TempDir;
use tidings::database::DatabaseOptions;
use tidings_testing::servers::Postgres;

use super::*;

const GO_HASH: &str = "$2a$10$DI8yy7IV7SwBZRQh2pD66OqoKJPbvL8EB1GbwmSdru2RS0EkXmoW2";

/// The table that gorm made of the tutorial's `pb.User`, with what later protobuf generators add to it.
const TUTORIAL: &str = r#"CREATE TABLE "users" ("id" text, "name" text, "company" text, "email" text, "password" text,
    "xxx_sizecache" integer, PRIMARY KEY ("id"))"#;

/// Runs a test on an empty database of each kind.
async fn on_each(test: impl AsyncFn(Database)) {
    let folder = TempDir::new().unwrap();
    test(open(&format!("sqlite:{}", folder.path().join("users.db").display())).await).await;
    let Some(postgres) = Postgres::shared().await else { return };
    test(open(&postgres.database().await).await).await;
}

async fn open(url: &str) -> Database {
    Database::open(url, &DatabaseOptions::default(), |_| ()).await.unwrap()
}

async fn outbox(database: &Database) -> Outbox {
    let nothing: [(&str, &str); 0] = [];
    let service = crate::builder().database(database.clone()).arguments(["users"]).environment(nothing).init().unwrap();
    service.outbox(database).await.unwrap()
}

async fn store(database: &Database) -> Store {
    Store::open(database, outbox(database).await).await.unwrap()
}

async fn run(database: &Database, sql: &str) {
    let sql = AssertSqlSafe(sql.to_owned());
    match database {
        Database::Sqlite(pool) => drop(sqlx::raw_sql(sql).execute(pool).await.unwrap()),
        Database::Postgres(pool) => drop(sqlx::raw_sql(sql).execute(pool).await.unwrap()),
        _ => unreachable!(),
    }
}

/// The first column of each row.
async fn texts(database: &Database, sql: &str) -> Vec<Option<String>> {
    let sql = AssertSqlSafe(sql.to_owned());
    match database {
        Database::Sqlite(pool) => sqlx::query_scalar(sql).fetch_all(pool).await.unwrap(),
        Database::Postgres(pool) => sqlx::query_scalar(sql).fetch_all(pool).await.unwrap(),
        _ => unreachable!(),
    }
}

fn user(name: &str) -> User {
    User::new(name, "BBC", &format!("{name}@example.com")).unwrap()
}

#[tokio::test]
async fn a_user_is_stored_with_its_event_or_neither_is() {
    on_each(async |database| {
        let store = store(&database).await;
        let (ewan, twin) = (user("ewan"), user("EWAN"));
        store.create(&ewan, "hash").await.unwrap();
        let refused = store.create(&twin, "hash").await.unwrap_err();
        assert!(matches!(refused, StoreError::EmailTaken), "{refused:?}");
        let id = Some(ewan.id.to_string());
        assert_eq!(texts(&database, "SELECT id FROM users").await, std::slice::from_ref(&id));
        assert_eq!(texts(&database, "SELECT key FROM tidings_outbox WHERE topic = 'user.created'").await, [id]);

        run(&database, "DROP TABLE tidings_outbox").await;
        store.create(&user("ada"), "hash").await.unwrap_err();
        assert_eq!(texts(&database, "SELECT name FROM users").await, [Some("ewan".into())]);
    })
    .await;
}

#[tokio::test]
async fn users_are_found_by_id_and_paged_in_its_order() {
    on_each(async |database| {
        let store = store(&database).await;
        let mut users = [user("a"), user("b"), user("c")];
        for user in &users {
            store.create(user, "hash").await.unwrap();
        }
        users.sort_by_key(|user| user.id.to_string());
        let [a, b, c] = users;
        assert_eq!(store.get(b.id).await.unwrap(), Some(b.clone()));
        assert_eq!(store.get(UserId::generate()).await.unwrap(), None);
        assert_eq!(store.page(None, 2).await.unwrap(), [a, b.clone()]);
        assert_eq!(store.page(Some(b.id), 2).await.unwrap(), std::slice::from_ref(&c));
        assert_eq!(store.page(Some(c.id), 2).await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn a_login_is_found_in_any_case_and_its_hash_replaced_once() {
    on_each(async |database| {
        let store = store(&database).await;
        let ewan = user("ewan");
        store.create(&ewan, "old").await.unwrap();
        let found = store.credentials("EWAN@Example.com").await.unwrap().unwrap();
        assert_eq!(found, Credentials { user: ewan.id, hash: "old".into() });
        store.renew(&found, "new").await.unwrap();
        store.renew(&found, "too late").await.unwrap();
        assert_eq!(store.credentials("ewan@example.com").await.unwrap().unwrap().hash, "new");
        for nobody in ["ada@example.com", "", "\0", "' OR ''='"] {
            assert_eq!(store.credentials(nobody).await.unwrap(), None);
        }
    })
    .await;
}

#[tokio::test]
async fn a_table_of_the_tutorials_is_taken_over_with_all_that_is_in_it() {
    on_each(async |database| {
        run(&database, TUTORIAL).await;
        let (ewan, ada) = (UserId::generate(), UserId::generate());
        run(
            &database,
            &format!(
                "INSERT INTO users VALUES ('{ewan}', 'Ewan', 'BBC', 'Ewan@BÜCHER.example', '{GO_HASH}', 7),
                ('{ada}', NULL, NULL, NULL, NULL, 8), ('{}', '', '', '', '', 9)",
                UserId::generate()
            ),
        )
        .await;
        let store = store(&database).await;
        let found = store.get(ewan).await.unwrap().unwrap();
        assert_eq!((found.name.as_str(), found.email.as_str()), ("Ewan", "ewan@bücher.example"));
        let blank = User { id: ada, name: String::new(), company: String::new(), email: String::new() };
        assert_eq!(store.get(ada).await.unwrap(), Some(blank));
        assert_eq!(store.credentials("ewan@bücher.EXAMPLE").await.unwrap().unwrap().hash, GO_HASH);
        assert_eq!(store.credentials("").await.unwrap(), None, "who has no address cannot log in");
        let kept = texts(&database, "SELECT cast(xxx_sizecache AS text) FROM users ORDER BY xxx_sizecache").await;
        assert_eq!(kept, [Some("7".into()), Some("8".into()), Some("9".into())]);

        let twin = User::new("Twin", "", "EWAN@bücher.example").unwrap();
        assert!(matches!(store.create(&twin, "hash").await, Err(StoreError::EmailTaken)));
        store.create(&user("new"), "hash").await.unwrap();
        Store::open(&database, outbox(&database).await).await.expect("a second start finds it in shape");
    })
    .await;
}

#[tokio::test]
async fn a_table_of_the_tutorials_of_many_rows_is_taken_over_whole() {
    on_each(async |database| {
        run(&database, TUTORIAL).await;
        let rows: Vec<String> =
            (0..2_500).map(|n| format!("('{}', 'n', '', 'User{n}@Example.com', 'x', 0)", UserId::generate())).collect();
        run(&database, &format!("INSERT INTO users VALUES {}", rows.join(","))).await;
        store(&database).await;
        let folded = texts(&database, "SELECT email FROM users WHERE email LIKE 'user%@example.com'").await;
        assert_eq!(folded.len(), 2_500);
    })
    .await;
}

/// What [`Store::open`] says to a database that was made with `sql`.
async fn refused(database: &Database, sql: &str) -> String {
    run(database, sql).await;
    let outbox = outbox(database).await;
    Store::open(database, outbox).await.unwrap_err().to_string()
}

#[tokio::test]
async fn emails_that_occur_twice_are_named_and_nothing_is_changed() {
    on_each(async |database| {
        let [a, b, c, d, e] = [(); 5].map(|()| UserId::generate());
        let error = refused(
            &database,
            &format!(
                "{TUTORIAL}; INSERT INTO users VALUES ('{a}', '', '', 'Ada@b.c', '', 0), ('{b}', '', '', 'ada@B.c', '', 0),
                ('{c}', '', '', 'x@y', '', 0), ('{d}', '', '', 'x@y', '', 0), ('{e}', '', '', 'Only@One', '', 0)"
            ),
        )
        .await;
        assert!(error.contains("ada@b.c, x@y:"), "{error}");
        assert!(!error.contains("only@one"), "{error}");
        let emails = texts(&database, "SELECT email FROM users").await;
        for email in ["Ada@b.c", "ada@B.c", "Only@One"] {
            assert!(emails.contains(&Some(email.into())), "{emails:?}");
        }
        run(&database, &format!("DELETE FROM users WHERE id IN ('{b}', '{d}')")).await;
        store(&database).await;
    })
    .await;
}

#[tokio::test]
async fn a_table_that_was_unique_by_case_is_refused_alike() {
    on_each(async |database| {
        let error = refused(
            &database,
            &format!(
                "CREATE TABLE users (id varchar(36) NOT NULL, name text, company text, email varchar(255) UNIQUE, password text);
                INSERT INTO users VALUES ('{}', '', '', 'Ada@b.c', ''), ('{}', '', '', 'ada@b.c', '')",
                UserId::generate(),
                UserId::generate()
            ),
        )
        .await;
        assert!(error.contains("ada@b.c:"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn a_table_without_a_key_gets_one() {
    on_each(async |database| {
        let id = UserId::generate();
        run(
            &database,
            &format!(
                "CREATE TABLE users (id varchar(36), name text, company text, email text, password text);
                INSERT INTO users VALUES ('{id}', '', '', 'a@b', '')"
            ),
        )
        .await;
        let store = store(&database).await;
        let twin = User { id, ..user("twin") };
        store.create(&twin, "hash").await.unwrap_err();
    })
    .await;
}

#[tokio::test]
async fn a_table_that_is_not_the_tutorials_is_left_alone() {
    on_each(async |database| {
        let error = refused(&database, "CREATE TABLE users (id text, name text, email text)").await;
        assert!(error.contains("no text column `company`"), "{error}");
        run(&database, "DROP TABLE users").await;
        let error = refused(&database, &format!("{TUTORIAL}; INSERT INTO users VALUES ('17', '', '', '', '', 0)")).await;
        assert!(error.contains("\"17\""), "{error}");
    })
    .await;
}

#[tokio::test]
async fn instances_that_start_at_once_take_over_once() {
    on_each(async |database| {
        run(&database, &format!("{TUTORIAL}; INSERT INTO users VALUES ('{}', '', '', 'A@b', '', 0)", UserId::generate())).await;
        let outbox = outbox(&database).await;
        let starts = (0..6).map(|_| Store::open(&database, outbox.clone()));
        for started in futures_util::future::join_all(starts).await {
            started.unwrap();
        }
        assert_eq!(texts(&database, "SELECT email FROM users").await, [Some("a@b".into())]);
    })
    .await;
}

#[tokio::test]
async fn a_busy_sqlite_file_is_unavailable() {
    let folder = TempDir::new().unwrap();
    let file = SqliteConnectOptions::new()
        .filename(folder.path().join("users.db"))
        .create_if_missing(true)
        .busy_timeout(Duration::from_millis(10));
    let pool = SqlitePoolOptions::new().max_connections(2).acquire_timeout(Duration::from_millis(50));
    let pool = pool.connect_with(file).await.unwrap();
    let store = store(&pool.clone().into()).await;

    let writer = begin_immediate(&pool).await.unwrap();
    let busy = store.create(&user("ewan"), "hash").await.unwrap_err();
    assert!(matches!(busy, StoreError::Unavailable(_)), "locked: {busy:?}");
    let _reader = pool.acquire().await.unwrap();
    let busy = store.get(UserId::generate()).await.unwrap_err();
    assert!(matches!(busy, StoreError::Unavailable(_)), "no connection: {busy:?}");
    drop(writer);
    store.create(&user("ewan"), "hash").await.unwrap();
}

#[tokio::test]
async fn an_outbox_that_cannot_be_written_now_is_unavailable() {
    let Some(postgres) = Postgres::shared().await else { return };
    let database = open(&postgres.database().await).await;
    let store = store(&database).await;
    let full = "CREATE FUNCTION disk_full() RETURNS trigger LANGUAGE plpgsql AS
        $$BEGIN RAISE EXCEPTION 'disk full' USING ERRCODE = '53100'; END$$;
        CREATE TRIGGER disk_full BEFORE INSERT ON tidings_outbox FOR EACH ROW EXECUTE FUNCTION disk_full()";
    run(&database, full).await;
    let refused = store.create(&user("ewan"), "hash").await.unwrap_err();
    assert!(matches!(refused, StoreError::Unavailable(_)), "{refused:?}");
    assert_eq!(texts(&database, "SELECT id FROM users").await, []);
}

#[tokio::test]
async fn an_absent_postgres_is_unavailable_until_it_is_back() {
    let Some(mut postgres) = Postgres::start().await else { return };
    let mut options = DatabaseOptions::default();
    options.acquire = Duration::from_millis(300);
    let database = Database::open(&postgres.database().await, &options, |_| ()).await.unwrap();
    let store = store(&database).await;
    let ewan = user("ewan");
    store.create(&ewan, "hash").await.unwrap();
    postgres.stop().await;
    for _ in 0..3 {
        let away = store.get(ewan.id).await.unwrap_err();
        assert!(matches!(away, StoreError::Unavailable(_)), "{away:?}");
        let away = store.create(&user("ada"), "hash").await.unwrap_err();
        assert!(matches!(away, StoreError::Unavailable(_)), "{away:?}");
    }
    postgres.restart().await;
    assert_eq!(store.get(ewan.id).await.unwrap(), Some(ewan));
}
