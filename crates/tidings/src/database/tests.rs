use sqlx::Connection as _;

use super::*;

const ONE: Migrations = Migrations {
    component: "things",
    sqlite: &["CREATE TABLE things (id INTEGER PRIMARY KEY)"],
    postgres: &["CREATE TABLE things (id bigint PRIMARY KEY)"],
};

async fn sqlite(folder: &tempfile::TempDir) -> Database {
    let url = format!("sqlite:{}", folder.path().join("new/test.db").display());
    Database::open(&url, &DatabaseOptions::default(), |_| ()).await.unwrap()
}

#[tokio::test]
async fn steps_are_taken_once_however_many_start_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let databases = [sqlite(&folder).await, sqlite(&folder).await, sqlite(&folder).await];
    let all = databases.each_ref().map(|database| database.migrate(&ONE));
    for taken in futures_util::future::join_all(all).await {
        taken.unwrap();
    }
}

#[tokio::test]
async fn a_failed_step_leaves_nothing_behind() {
    const BROKEN: Migrations = Migrations { sqlite: &[ONE.sqlite[0], "CREATE TABLE oops ("], ..ONE };
    let folder = tempfile::tempdir().unwrap();
    let database = sqlite(&folder).await;
    assert!(matches!(database.migrate(&BROKEN).await, Err(DatabaseError::Step { step: 2, .. })));
    database.migrate(&ONE).await.unwrap();
}

#[tokio::test]
async fn tables_of_a_newer_or_another_version_are_refused() {
    const TWO: Migrations = Migrations { sqlite: &[ONE.sqlite[0], "CREATE TABLE more (id INTEGER)"], ..ONE };
    const OTHER: Migrations = Migrations { sqlite: &["CREATE TABLE other (id INTEGER)", TWO.sqlite[1]], ..ONE };
    let folder = tempfile::tempdir().unwrap();
    let database = sqlite(&folder).await;
    database.migrate(&TWO).await.unwrap();
    let error = database.migrate(&ONE).await.unwrap_err().to_string();
    assert!(error.contains("`things`") && error.contains("newer version"), "{error}");
    assert!(matches!(database.migrate(&OTHER).await, Err(DatabaseError::Changed { step: 1, .. })));
}

/// By themselves they would poll, and who polls is passed over.
#[tokio::test(flavor = "multi_thread")]
async fn writers_are_served_in_the_order_in_which_they_came() {
    const WRITERS: usize = 20;
    const EACH: usize = 5;
    let folder = tempfile::tempdir().unwrap();
    // Two pools, as of two services in one process.
    let databases = [sqlite(&folder).await, sqlite(&folder).await];
    let pools = databases.map(|database| match database {
        Database::Sqlite(pool) => pool,
        #[cfg(feature = "postgres")]
        Database::Postgres(_) => unreachable!("opened as SQLite"),
    });
    Database::from(pools[0].clone()).migrate(&ONE).await.unwrap();
    let order = std::sync::Mutex::new(Vec::new());
    let start = tokio::sync::Barrier::new(WRITERS);
    let writers = (0..WRITERS).map(|writer| {
        let (pool, order, start) = (&pools[writer % 2], &order, &start);
        async move {
            start.wait().await;
            for _ in 0..EACH {
                let mut tx = begin_immediate(pool).await.unwrap();
                order.lock().unwrap().push(writer);
                sqlx::query("INSERT INTO things DEFAULT VALUES").execute(&mut *tx).await.unwrap();
                tx.commit().await.unwrap();
            }
        }
    });
    futures_util::future::join_all(writers).await;
    for round in order.into_inner().unwrap().chunks(WRITERS) {
        let all: std::collections::BTreeSet<_> = round.iter().collect();
        assert_eq!(all.len(), WRITERS, "somebody was passed over: {round:?}");
    }
}

/// As it does when COMMIT finds the disk full; sqlx goes on counting it as open.
#[tokio::test]
async fn a_transaction_that_sqlite_ended_by_itself_stops_no_later_one() {
    async fn ended(pool: &sqlx::SqlitePool) -> WriteTransaction {
        let mut tx = begin_immediate(pool).await.unwrap();
        sqlx::query("INSERT OR ROLLBACK INTO once VALUES (1)").execute(&mut *tx).await.unwrap_err();
        tx
    }
    let folder = tempfile::tempdir().unwrap();
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.path().join("test.db")).create_if_missing(true);
    let pool = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
    sqlx::raw_sql("CREATE TABLE once (id integer PRIMARY KEY); INSERT INTO once VALUES (1)").execute(&pool).await.unwrap();
    ended(&pool).await.commit().await.unwrap_err();
    ended(&pool).await.rollback().await.unwrap();
    drop(ended(&pool).await);
    let mut tx = begin_immediate(&pool).await.unwrap();
    sqlx::query("INSERT INTO once VALUES (2)").execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(sqlx::query_scalar::<_, i64>("SELECT count(*) FROM once").fetch_one(&pool).await.unwrap(), 2);
}

/// It may hold hashes of passwords, and mail.
#[cfg(unix)]
#[tokio::test]
async fn a_new_file_is_the_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    sqlite(&folder).await.migrate(&ONE).await.unwrap();
    for file in std::fs::read_dir(folder.path().join("new")).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{}", file.path().display());
    }
}

#[tokio::test]
async fn a_damaged_file_is_named_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.db");
    std::fs::write(&path, vec![7; 8192]).unwrap();
    let error = Database::open(&format!("sqlite:{}", path.display()), &DatabaseOptions::default(), |_| ()).await.unwrap_err();
    assert!(matches!(error, DatabaseError::Corrupt { .. }), "{error:?}");
    assert!(error.to_string().contains("bad.db"), "{error}");
}

#[tokio::test]
async fn a_file_that_another_program_keeps_locked_is_named_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let database = sqlite(&folder).await;
    let path = folder.path().join("new/test.db");
    let mut other = sqlx::SqliteConnection::connect(path.to_str().unwrap()).await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let error = database.migrate(&ONE).await.unwrap_err();
    assert!(matches!(&error, DatabaseError::Locked { path: named, .. } if *named == path), "{error}");
    assert!(error.to_string().contains("end that one"), "{error}");
}

#[tokio::test]
async fn a_file_that_is_locked_when_it_is_opened_is_named_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("test.db");
    let url = format!("sqlite:{}", path.display());
    let connect = sqlx::sqlite::SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let mut other = sqlx::SqliteConnection::connect_with(&connect).await.unwrap();
    sqlx::raw_sql("BEGIN EXCLUSIVE").execute(&mut other).await.unwrap();
    let options = DatabaseOptions { wait: std::time::Duration::ZERO, ..Default::default() };
    let error = Database::open(&url, &options, |_| ()).await.unwrap_err();
    assert!(matches!(&error, DatabaseError::Locked { path: named, .. } if *named == path), "{error:?}");
}

#[tokio::test]
async fn a_file_that_another_program_writes_to_is_waited_for_before_tables_are_made() {
    let folder = tempfile::tempdir().unwrap();
    sqlite(&folder).await.close().await;
    let path = folder.path().join("new/test.db");
    let mut other = sqlx::SqliteConnection::connect(path.to_str().unwrap()).await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let url = format!("sqlite:{}", path.display());
    let options = DatabaseOptions { wait: std::time::Duration::ZERO, ..Default::default() };
    let error = Database::open(&url, &options, |_| ()).await.unwrap_err();
    assert!(matches!(&error, DatabaseError::Locked { path: named, .. } if *named == path), "{error:?}");

    let (told, mut waits) = tokio::sync::mpsc::unbounded_channel();
    let opening = async {
        let open = Database::open(&url, &DatabaseOptions::default(), |_| told.send(()).unwrap_or_default()).await.unwrap();
        open.migrate(&ONE).await.unwrap();
    };
    let freeing = async {
        waits.recv().await.unwrap();
        sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    };
    tokio::join!(opening, freeing);
}

#[tokio::test]
async fn a_bad_url_says_what_is_allowed_and_shows_no_password() {
    for (url, says) in [
        ("mysql://root:hunter2@h/x", "no database `mysql:`"),
        ("sqlite:", "a file is missing"),
        ("sqlite://host/x", "no host"),
        ("sqlite:x?mode=ro", "no settings"),
        ("nonsense hunter2", "sqlite:PATH"),
    ] {
        let error = Database::open(url, &DatabaseOptions::default(), |_| ()).await.unwrap_err().to_string();
        assert!(error.contains(says) && !error.contains("hunter2"), "{url}: {error}");
    }
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn an_absent_server_is_waited_for_and_then_named() {
    let options = DatabaseOptions { wait: std::time::Duration::from_millis(400), ..Default::default() };
    let waits = std::sync::atomic::AtomicU32::new(0);
    let on_wait = |_: &DatabaseError| {
        waits.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    };
    let error = Database::open("postgres://me:hunter2@127.0.0.1:1/x", &options, on_wait).await.unwrap_err();
    assert!(waits.into_inner() >= 1);
    assert!(error.to_string().contains("127.0.0.1:1") && !error.to_string().contains("hunter2"), "{error}");
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn a_server_that_says_nothing_is_not_waited_for_without_end() {
    // It accepts, and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgres://me@{}/x", silent.local_addr().unwrap());
    let options = DatabaseOptions { wait: std::time::Duration::ZERO, ..Default::default() };
    let error = Database::open(&url, &options, |_| ()).await.unwrap_err();
    assert!(matches!(error, DatabaseError::Unavailable { .. }), "{error}");
    assert!(crate::error::chain(&error).contains("does not answer"), "{error}");
}
