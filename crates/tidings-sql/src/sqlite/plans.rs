//! How SQLite goes about what is asked at every turn: by an index, whatever the tables hold.

use sqlx::{Connection, Executor, Row, SqliteConnection};

use super::{claim, later, line, row, settle, sweep};

#[tokio::test]
async fn no_turn_reads_a_whole_table() {
    let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
    connection.execute(include_str!("schema.sql")).await.unwrap();
    connection.execute(include_str!("later.sql")).await.unwrap();
    let asked = [
        later::NEXT,
        later::FIND,
        later::MOVE,
        later::DELETE,
        line::LOOK,
        claim::WAKE_DUE,
        claim::FIND_AGAIN,
        claim::TAKE_AGAIN,
        claim::LAY_UP,
        claim::FIND_NEW,
        claim::TAKE_NEW,
        row::SELECT,
        settle::END,
        settle::HAND_BACK,
        settle::PUT_BACK,
        settle::RETRY,
        sweep::UNSEEN,
        sweep::DELETE[0],
        sweep::DELETE[1],
    ];
    for sql in asked {
        let plan =
            sqlx::query(sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"))).fetch_all(&mut connection).await.unwrap();
        let steps: Vec<(i64, String)> = plan.iter().map(|row| (row.get(1), row.get(3))).collect();
        for (place, (parent, step)) in steps.iter().enumerate() {
            let of_a_table = ["message", "delivery", "route", "later", "m", "d", "h", "r"]
                .iter()
                .any(|name| step.starts_with(&format!("SCAN {name} ")) || step == &format!("SCAN {name}"));
            // All that a subscription has not settled is as good as all.
            let of_a_subscription = step.ends_with("PRIMARY KEY (subscription=?)");
            // A list that is read again for every row of a table is quadratic.
            let of_a_list = step.starts_with("SCAN j ")
                && steps[..place].iter().any(|(other, step)| other == parent && step.starts_with("SEARCH "));
            assert!(!of_a_table && !of_a_subscription && !of_a_list, "{sql}\n{steps:#?}");
        }
    }
}
