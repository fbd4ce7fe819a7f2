use std::{fs, path::Path, process::Command};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

fn policy(folder: &TempDir, algorithm: Algorithm) -> TokenPolicy {
    TokenPolicy {
        key: folder.path().join("new").join("auth.key"),
        algorithm,
        issuer: "users".into(),
        audience: "tidings".into(),
        lifetime: Duration::from_secs(72 * 3600),
    }
}

fn opened(algorithm: Algorithm) -> (Tokens, TempDir) {
    let folder = TempDir::new().unwrap();
    (Tokens::open(policy(&folder, algorithm)).unwrap(), folder)
}

fn good_claims() -> Value {
    let now = get_current_timestamp();
    json!({
        "sub": UserId::generate(), "iss": "users", "aud": "tidings",
        "exp": now + 60, "iat": now, "jti": Uuid::new_v4(),
    })
}

fn signed(tokens: &Tokens, claims: &Value) -> String {
    jsonwebtoken::encode(&tokens.header, claims, &tokens.sign).unwrap()
}

fn write_key(path: &Path, text: &str, mode: u32) {
    use std::os::unix::fs::PermissionsExt;

    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_token_names_its_user_and_holds_what_a_jwt_should() {
    for algorithm in [Algorithm::EdDsa, Algorithm::Hs256] {
        let (tokens, _folder) = opened(algorithm);
        let user = UserId::generate();
        let token = tokens.issue(user).unwrap();
        assert_eq!(tokens.check(&token).unwrap(), user);
        let claims: Value = jsonwebtoken::dangerous::insecure_decode_claims(&token).unwrap();
        assert_eq!(claims["sub"], user.to_string());
        assert_eq!(claims["iss"], "users");
        assert_eq!(claims["aud"], "tidings");
        let (issued, expires) = (claims["iat"].as_u64(), claims["exp"].as_u64());
        assert_eq!(expires.unwrap() - issued.unwrap(), 72 * 3600);
        assert!(claims["jti"].is_string());
    }
}

#[test]
fn a_token_without_or_with_wrong_exp_iss_aud_or_sub_does_not_hold() {
    let (tokens, _folder) = opened(Algorithm::EdDsa);
    tokens.check(&signed(&tokens, &good_claims())).unwrap();
    let wrong = [
        ("exp", json!(get_current_timestamp() - 1)),
        ("exp", json!("soon")),
        ("iss", json!("someone")),
        ("iss", json!(["users"])),
        ("aud", json!("another")),
        ("sub", json!("not-a-uuid")),
    ];
    for (claim, value) in wrong {
        let mut claims = good_claims();
        claims[claim] = value;
        assert!(tokens.check(&signed(&tokens, &claims)).is_err(), "{claims}");
    }
    for claim in ["exp", "iss", "aud", "sub"] {
        let mut claims = good_claims();
        claims.as_object_mut().unwrap().remove(claim);
        assert!(tokens.check(&signed(&tokens, &claims)).is_err(), "{claims}");
    }
}

#[test]
fn a_token_of_another_key_or_with_a_changed_part_does_not_hold() {
    let (tokens, _folder) = opened(Algorithm::EdDsa);
    let (other, _other_folder) = opened(Algorithm::EdDsa);
    let token = tokens.issue(UserId::generate()).unwrap();
    assert!(other.check(&token).is_err());
    for at in [3, token.len() / 2, token.len() - 3] {
        let mut forged = token.clone().into_bytes();
        forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
        assert!(tokens.check(&String::from_utf8(forged).unwrap()).is_err());
    }
    for nonsense in ["", ".", "..", "...", "a.b.c", "x", &token[..20], "\u{0}"] {
        assert!(tokens.check(nonsense).is_err(), "{nonsense:?}");
    }
}

#[test]
fn the_token_cannot_choose_its_algorithm() {
    let (tokens, folder) = opened(Algorithm::EdDsa);
    // The classic forgery: the public key, which anyone may know, as HMAC secret.
    let pem = fs::read(folder.path().join("new/auth.key")).unwrap();
    let public = tokens.verify.try_get_as_bytes().unwrap();
    for secret in [public, &pem] {
        let forged =
            jsonwebtoken::encode(&Header::new(jsonwebtoken::Algorithm::HS256), &good_claims(), &EncodingKey::from_secret(secret));
        assert!(tokens.check(&forged.unwrap()).is_err());
    }
    let unsigned = format!("{}.{}.", b64(r#"{"alg":"none"}"#), b64(&good_claims().to_string()));
    assert!(tokens.check(&unsigned).is_err());
}

fn b64(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text)
}

#[test]
fn the_key_is_made_once_and_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;

    for algorithm in [Algorithm::EdDsa, Algorithm::Hs256] {
        let folder = TempDir::new().unwrap();
        let policy = policy(&folder, algorithm);
        let first = Tokens::open(policy.clone()).unwrap();
        let mode = fs::metadata(&policy.key).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let second = Tokens::open(policy.clone()).unwrap();
        let user = UserId::generate();
        assert_eq!(second.check(&first.issue(user).unwrap()).unwrap(), user);
        let beside = fs::read_dir(policy.key.parent().unwrap()).unwrap().count();
        assert_eq!(beside, 1, "nothing is left of its making");
    }
}

#[test]
fn processes_that_start_at_once_agree_on_one_key() {
    let folder = TempDir::new().unwrap();
    let policy = policy(&folder, Algorithm::EdDsa);
    let opened: Vec<Tokens> = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..8).map(|_| scope.spawn(|| Tokens::open(policy.clone()).unwrap())).collect();
        starts.into_iter().map(|start| start.join().unwrap()).collect()
    });
    let token = opened[0].issue(UserId::generate()).unwrap();
    for tokens in &opened {
        tokens.check(&token).unwrap();
    }
}

#[test]
fn a_key_that_others_can_use_is_refused() {
    for mode in [0o644, 0o640, 0o660, 0o604, 0o602] {
        let folder = TempDir::new().unwrap();
        let policy = policy(&folder, Algorithm::EdDsa);
        drop(Tokens::open(policy.clone()).unwrap());
        let text = fs::read_to_string(&policy.key).unwrap();
        write_key(&policy.key, &text, mode);
        let error = Tokens::open(policy.clone()).unwrap_err().to_string();
        assert!(error.contains(&format!("mode {mode:03o}")), "{error}");
        assert!(error.contains(policy.key.to_str().unwrap()), "{error}");
        assert!(error.contains("chmod 600"), "{error}");
    }
}

#[test]
fn what_is_no_key_is_refused_with_the_way_out() {
    let pem_of_nothing = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let too_short = "mySuperSecretKeyLol\n";
    let cases = [
        (Algorithm::EdDsa, "", "openssl genpkey"),
        (Algorithm::EdDsa, "\u{0}garbage", "openssl genpkey"),
        (Algorithm::EdDsa, pem_of_nothing, "openssl genpkey"),
        (Algorithm::EdDsa, too_short, "openssl genpkey"),
        (Algorithm::Hs256, "", "openssl rand"),
        (Algorithm::Hs256, too_short, "openssl rand"),
        (Algorithm::Hs256, pem_of_nothing, "openssl rand"),
    ];
    for (algorithm, text, way_out) in cases {
        let folder = TempDir::new().unwrap();
        let policy = policy(&folder, algorithm);
        write_key(&policy.key, text, 0o600);
        let error = Tokens::open(policy.clone()).unwrap_err().to_string();
        assert!(error.contains(way_out), "{algorithm:?} {text:?}: {error}");
        assert!(error.contains(policy.key.to_str().unwrap()), "{error}");
        assert_eq!(fs::read_to_string(&policy.key).unwrap(), text, "left alone");
    }
}

#[test]
fn a_folder_in_the_keys_place_is_an_error() {
    let folder = TempDir::new().unwrap();
    let policy = policy(&folder, Algorithm::EdDsa);
    fs::create_dir_all(&policy.key).unwrap();
    assert!(Tokens::open(policy).is_err());
}

#[test]
fn openssl_reads_our_key_and_we_read_openssls() {
    let folder = TempDir::new().unwrap();
    let policy = policy(&folder, Algorithm::EdDsa);
    drop(Tokens::open(policy.clone()).unwrap());
    let Ok(read) = Command::new("openssl").arg("pkey").arg("-in").arg(&policy.key).output() else {
        return println!("skipped: no openssl here");
    };
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    assert_eq!(read.stdout, fs::read(&policy.key).unwrap(), "written alike");

    let made = Command::new("openssl").args(["genpkey", "-algorithm", "ed25519"]).output().unwrap();
    write_key(&policy.key, std::str::from_utf8(&made.stdout).unwrap(), 0o600);
    let tokens = Tokens::open(policy).unwrap();
    tokens.check(&tokens.issue(UserId::generate()).unwrap()).unwrap();
}
