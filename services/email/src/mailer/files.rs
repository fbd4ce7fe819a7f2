//! Mails as `.eml` files in a folder, each complete from the moment it can be seen.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use uuid::Uuid;

use super::{Mail, MailUrlError, SendError};

/// How an unfinished file's name ends; it begins with a dot.
const UNFINISHED: &str = ".part";

/// An unfinished file older than this belongs to a process that died.
const ABANDONED: Duration = Duration::from_secs(3600);

/// A folder of `.eml` files.
#[derive(Debug)]
pub(super) struct Files {
    folder: Arc<Path>,
}

impl Files {
    /// Makes the folder when it is absent, tries to write to it, and removes what dead processes left unfinished.
    pub(super) fn open(folder: PathBuf) -> Result<Self, MailUrlError> {
        prepare(&folder).map_err(|source| MailUrlError::Folder { path: folder.clone(), source })?;
        Ok(Self { folder: folder.into() })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes the mail under its key, in the place of one of the same key, and answers where.
    ///
    /// # Cancel safety
    /// The write goes on to its end on a thread of its own.
    pub(super) async fn write(&self, mail: &Mail) -> Result<PathBuf, SendError> {
        let folder = Arc::clone(&self.folder);
        let name = mail.key().to_string();
        let bytes = mail.message().formatted();
        let path = folder.join(format!("{name}.eml"));
        let failed = |source| SendError::File { path: path.clone(), source };
        let target = path.clone();
        tokio::task::spawn_blocking(move || replace(&folder, &name, &target, &bytes))
            .await
            .map_err(|error| failed(io::Error::other(error)))?
            .map_err(failed)?;
        Ok(path)
    }
}

fn prepare(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let probe = unfinished(folder, "probe");
    File::create_new(&probe)?;
    fs::remove_file(&probe)?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // A file that another process has just finished is gone from here; that is no error.
        if is_abandoned(&entry) {
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}

fn is_abandoned(entry: &fs::DirEntry) -> bool {
    let name = entry.file_name();
    let name = name.to_string_lossy();
    let age = |at: SystemTime| at.elapsed().unwrap_or_default();
    name.starts_with('.')
        && name.ends_with(UNFINISHED)
        && entry.metadata().and_then(|data| data.modified()).is_ok_and(|at| age(at) > ABANDONED)
}

/// A name that no other process and no other attempt has, so that two that write one mail do not write into each other.
fn unfinished(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!(".{name}.{}{UNFINISHED}", Uuid::new_v4().simple()))
}

fn replace(folder: &Path, name: &str, target: &Path, bytes: &[u8]) -> io::Result<()> {
    let unfinished = unfinished(folder, name);
    let written = write_synced(&unfinished, bytes).and_then(|()| fs::rename(&unfinished, target));
    if written.is_err() {
        // A full disk should not stay full of our leftovers; the first error is the one to tell.
        let _ = fs::remove_file(&unfinished);
    }
    written?;
    // The rename is durable only when the folder is: else a power cut could take back a mail that was recorded as sent.
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    Ok(())
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::super::mail::tests::mail_to;
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[tokio::test]
    async fn a_mail_is_one_complete_file_named_after_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::open(folder.path().join("deep/mail")).unwrap();
        let path = files.write(&mail_to("u-1", "Ada", "ada@example.com")).await.unwrap();
        assert_eq!(path, folder.path().join("deep/mail/u-1.eml"));
        assert!(fs::read_to_string(&path).unwrap().contains("To: Ada <ada@example.com>"));
        assert_eq!(names(path.parent().unwrap()), ["u-1.eml"]);
    }

    #[tokio::test]
    async fn the_same_mail_again_replaces_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::open(folder.path().to_owned()).unwrap();
        files.write(&mail_to("u-1", "Ada", "ada@example.com")).await.unwrap();
        let path = files.write(&mail_to("u-1", "Ada", "ada@new.example")).await.unwrap();
        assert!(fs::read_to_string(path).unwrap().contains("ada@new.example"));
        assert_eq!(names(folder.path()), ["u-1.eml"]);
    }

    #[tokio::test]
    async fn a_write_that_fails_names_the_file_and_is_worth_another_try() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::open(folder.path().join("mail")).unwrap();
        fs::remove_dir(folder.path().join("mail")).unwrap();
        let error = files.write(&mail_to("u-1", "Ada", "ada@example.com")).await.unwrap_err();
        assert!(error.to_string().ends_with("mail/u-1.eml\""), "{error}");
        assert!(!error.is_permanent());
    }

    #[test]
    fn only_what_a_dead_process_left_is_removed_at_start() {
        let folder = tempfile::tempdir().unwrap();
        for name in [".u-1.0.part", ".u-2.0.part", "u-3.eml"] {
            fs::write(folder.path().join(name), "x").unwrap();
        }
        let two_hours_ago = SystemTime::now() - ABANDONED * 2;
        for old in [".u-1.0.part", "u-3.eml"] {
            File::open(folder.path().join(old)).unwrap().set_modified(two_hours_ago).unwrap();
        }
        Files::open(folder.path().to_owned()).unwrap();
        let mut left = names(folder.path());
        left.sort();
        assert_eq!(left, [".u-2.0.part", "u-3.eml"]);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Files::open(file.path().join("mail")).unwrap_err();
        assert!(error.to_string().contains("/mail\" of --mail cannot be used"), "{error}");
    }
}
