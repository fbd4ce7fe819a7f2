//! The caller's deadline.

use std::time::Duration;

use axum::http::HeaderMap;

/// tonic has a timer for the same header, which answers `CANCELLED`; ours has to be first.
const EARLIER: Duration = Duration::from_millis(2);

/// How long a call may take: as long as the service allows, or as its caller waits, if that is shorter.
pub(super) fn of_call(headers: &HeaderMap, allowed: Duration) -> Duration {
    let asked = headers.get("grpc-timeout").and_then(|value| parse(value.to_str().ok()?));
    asked.map_or(allowed, |asked| asked.saturating_sub(EARLIER).min(allowed))
}

/// Reads `grpc-timeout`: at most eight digits and a unit.
///
/// <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#requests>
fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callers_deadline_is_read_as_grpc_writes_it() {
        for (text, time) in [
            ("1H", Some(3_600_000)),
            ("2M", Some(120_000)),
            ("5S", Some(5_000)),
            ("99999999m", Some(99_999_999)),
            ("5000u", Some(5)),
            ("7000000n", Some(7)),
            ("", None),
            ("S", None),
            ("5", None),
            ("123456789S", None),
            ("-1S", None),
            ("5é", None),
        ] {
            assert_eq!(parse(text), time.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn the_shorter_of_both_counts() {
        let allowed = Duration::from_secs(30);
        let of = |text: &str| of_call(&HeaderMap::from_iter([("grpc-timeout".parse().unwrap(), text.parse().unwrap())]), allowed);
        assert_eq!(of("1S"), Duration::from_millis(998));
        assert_eq!(of("1H"), allowed);
        assert_eq!(of("1m"), Duration::ZERO);
        assert_eq!(of("soon"), allowed);
        assert_eq!(of_call(&HeaderMap::new(), allowed), allowed);
    }
}
