//! The mails that the email-service wrote, as the files they are.

use super::Client;
use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tidings_testing::servers::eventually;
use users::proto::User;

/// A folder of `.eml` files.
#[derive(Debug, Clone)]
pub(crate) struct Mails(PathBuf);

impl Mails {
    pub(crate) fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    /// Addresses that mails are for, each with the number of its files.
    pub(crate) fn by_address(&self) -> BTreeMap<String, usize> {
        let mut found = BTreeMap::new();
        for file in self.files() {
            let text = fs::read_to_string(&file).unwrap();
            let address = address(&text).unwrap_or_else(|| panic!("no address in {}: {text}", file.display()));
            *found.entry(address).or_default() += 1;
        }
        found
    }

    /// The complete mails; one that is being written has another name.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(&self.0) else { return Vec::new() };
        entries.map(|entry| entry.unwrap().path()).filter(|path| is_mail(path)).collect()
    }

    /// Waits until each of the users has a mail, and checks that none has two.
    pub(crate) async fn reach(&self, users: &[User], within: Duration) {
        // By name, not by number: users whose creation nobody acknowledged are mailed too.
        eventually(within, async || {
            let there: HashSet<_> = self.files().iter().filter_map(|file| Some(file.file_stem()?.to_owned())).collect();
            users.iter().all(|user| there.contains(OsStr::new(&user.id)))
        })
        .await;
        let found = self.by_address();
        for user in users {
            assert_eq!(found.get(&user.email), Some(&1), "mails for {}", user.email);
        }
    }

    /// Waits until each user that is stored has a mail, and checks that nobody else has one.
    pub(crate) async fn reach_all_stored(&self, client: &mut Client, within: Duration) {
        let stored = super::users::all(client).await;
        self.reach(&stored, within).await;
        assert_eq!(self.by_address().len(), stored.len(), "mails without a user");
    }
}

fn is_mail(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "eml")
}

/// What stands between the angle brackets of `To`, or its one word.
fn address(mail: &str) -> Option<String> {
    let head = mail.split("\r\n\r\n").next()?.replace("\r\n ", " ").replace("\r\n\t", " ");
    let to = head.split("\r\n").find_map(|line| line.strip_prefix("To: "))?;
    Some(to.rsplit(['<', ' ']).next()?.trim_end_matches('>').to_owned())
}
