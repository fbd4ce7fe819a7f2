//! What the mails say: MiniJinja templates, built in, each replaceable by a file of the operator's folder.
//!
//! Every template is rendered once at start, so that a broken one ends the service then and not a mail later.

use std::fs;
use std::path::{Path, PathBuf};

use minijinja::{AutoEscape, Environment, UndefinedBehavior, context};

use crate::event::UserCreated;

const SUBJECT: &str = "welcome.subject.txt";
const TEXT: &str = "welcome.txt";
const HTML: &str = "welcome.html";

const BUILT_IN: [(&str, &str); 3] = [
    (SUBJECT, include_str!("../templates/welcome.subject.txt")),
    (TEXT, include_str!("../templates/welcome.txt")),
    (HTML, include_str!("../templates/welcome.html")),
];

/// The templates of the welcome mail, compiled and tried.
#[derive(Debug)]
pub struct Templates {
    environment: Environment<'static>,
}

/// What a mail says, in its three forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// The subject, one line.
    pub subject: String,
    /// The text part.
    pub text: String,
    /// The HTML part; what came out of the event is escaped.
    pub html: String,
}

/// Why the templates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// The folder or a file in it cannot be read, or is not UTF-8.
    #[error("cannot read {path:?} of --templates")]
    Unreadable {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The folder replaces nothing, so it is not the one that was meant.
    #[error(
        "the folder {path:?} of --templates has none of `{SUBJECT}`, `{TEXT}`, `{HTML}`; put at least one there or leave --templates out"
    )]
    Empty {
        /// The folder.
        path: PathBuf,
    },
    /// A template does not compile, or does not render with the fields that an event has.
    #[error("template `{file}`, line {line}: {reason}")]
    Broken {
        /// The file's name.
        file: String,
        /// The line in it, from 1.
        line: usize,
        /// What is wrong there; of an error at start only, for later ones could quote an event.
        reason: String,
    },
}

impl Templates {
    /// Compiles the built-in templates, those in `folder` taking their places, and renders each once.
    ///
    /// Every `.txt` and `.html` file of the folder can be included by the others; other files are passed over.
    ///
    /// # Errors
    /// A [`TemplateError`] that names the file and, where there is one, the line.
    pub fn open(folder: Option<&Path>) -> Result<Self, TemplateError> {
        let mut environment = Environment::new();
        // A misspelt field is an error at start instead of a gap in every mail.
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|name| match name.ends_with(".html") {
            true => AutoEscape::Html,
            false => AutoEscape::None,
        });
        for (name, text) in BUILT_IN {
            environment.add_template(name, text).map_err(|error| broken(&error))?;
        }
        if let Some(folder) = folder {
            replace_from(folder, &mut environment)?;
        }
        let templates = Self { environment };
        for user in samples() {
            templates.render(&user).map_err(|error| broken(&error))?;
        }
        Ok(templates)
    }

    /// Renders the welcome mail of `user`.
    ///
    /// # Errors
    /// [`TemplateError::Broken`] when a template fails for this user alone; the error quotes nothing of the event.
    pub fn welcome(&self, user: &UserCreated) -> Result<Content, TemplateError> {
        self.render(user).map_err(|error| TemplateError::Broken {
            reason: error.kind().to_string(),
            file: error.name().unwrap_or("unknown").to_owned(),
            line: error.line().unwrap_or(1),
        })
    }

    fn render(&self, user: &UserCreated) -> Result<Content, minijinja::Error> {
        let fields = context! {
            id => user.id.as_str(),
            name => user.name.as_str(),
            company => user.company.as_str(),
            email => user.email.as_str(),
        };
        let render = |name| self.environment.get_template(name)?.render(fields.clone());
        Ok(Content {
            subject: render(SUBJECT)?.split_whitespace().collect::<Vec<_>>().join(" "),
            text: render(TEXT)?,
            html: render(HTML)?,
        })
    }
}

/// One user with everything, one with no more than an event must have.
fn samples() -> [UserCreated; 2] {
    let least = UserCreated { id: "1".to_owned(), email: "ada@example.com".to_owned(), ..UserCreated::default() };
    let full = UserCreated { name: "Ada Lovelace".to_owned(), company: "Analytical Engines".to_owned(), ..least.clone() };
    [full, least]
}

fn replace_from(folder: &Path, environment: &mut Environment<'static>) -> Result<(), TemplateError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| TemplateError::Unreadable { path, source }
    };
    let mut replaced = false;
    for entry in fs::read_dir(folder).map_err(unreadable(folder))? {
        let path = entry.map_err(unreadable(folder))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        if !(name.ends_with(".txt") || name.ends_with(".html")) {
            continue;
        }
        let text = fs::read_to_string(&path).map_err(unreadable(&path))?;
        replaced |= BUILT_IN.iter().any(|(built_in, _)| *built_in == name);
        environment.add_template_owned(name.to_owned(), text).map_err(|error| broken(&error))?;
    }
    match replaced {
        true => Ok(()),
        false => Err(TemplateError::Empty { path: folder.to_owned() }),
    }
}

fn broken(error: &minijinja::Error) -> TemplateError {
    TemplateError::Broken {
        file: error.name().unwrap_or("unknown").to_owned(),
        line: error.line().unwrap_or(1),
        reason: match error.detail() {
            Some(detail) => format!("{}: {detail}", error.kind()),
            None => error.kind().to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ada() -> UserCreated {
        samples()[0].clone()
    }

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    fn refusal(files: &[(&str, &str)]) -> String {
        Templates::open(Some(folder(files).path())).unwrap_err().to_string()
    }

    #[test]
    fn the_built_in_mail_greets_by_name_in_all_its_forms() {
        let content = Templates::open(None).unwrap().welcome(&ada()).unwrap();
        assert_eq!(content.subject, "Welcome, Ada Lovelace");
        for part in [&content.text, &content.html] {
            assert!(part.contains("Hello Ada Lovelace,"), "{part}");
            assert!(part.contains("listed under Analytical Engines"), "{part}");
        }
    }

    #[test]
    fn a_user_without_a_name_is_greeted_without_one() {
        let content = Templates::open(None).unwrap().welcome(&samples()[1]).unwrap();
        assert_eq!(content.subject, "Welcome");
        assert!(content.text.starts_with("Hello,\n"), "{}", content.text);
    }

    #[test]
    fn what_comes_from_the_event_is_escaped_in_html_and_only_there() {
        let user = UserCreated { name: "<b>&".to_owned(), ..ada() };
        let content = Templates::open(None).unwrap().welcome(&user).unwrap();
        assert!(content.html.contains("Hello &lt;b&gt;&amp;,"), "{}", content.html);
        assert!(content.text.contains("Hello <b>&,"), "{}", content.text);
    }

    #[test]
    fn a_file_of_the_folder_takes_the_place_of_a_built_in_one() {
        let folder =
            folder(&[("welcome.txt", "{% include 'footer.txt' %} {{ id }}"), ("footer.txt", "from us"), ("notes.md", "{{")]);
        let content = Templates::open(Some(folder.path())).unwrap().welcome(&ada()).unwrap();
        assert_eq!(content.text, "from us 1");
        assert!(content.html.contains("Hello Ada"), "{}", content.html);
    }

    #[test]
    fn a_subject_is_one_line_whatever_the_template_says() {
        let folder = folder(&[("welcome.subject.txt", "Hello\r\nBcc: {{ email }}\n")]);
        let content = Templates::open(Some(folder.path())).unwrap().welcome(&ada()).unwrap();
        assert_eq!(content.subject, "Hello Bcc: ada@example.com");
    }

    #[test]
    fn a_broken_template_is_named_with_its_line() {
        assert!(refusal(&[("welcome.html", "\n\n{% if %}")]).starts_with("template `welcome.html`, line 3: syntax error"));
        assert!(refusal(&[("welcome.txt", "a\n{{ nmae }}")]).starts_with("template `welcome.txt`, line 2: undefined value"));
        assert!(refusal(&[("welcome.txt", "{% include 'x.txt' %}")]).starts_with("template `welcome.txt`, line 1: "));
    }

    #[test]
    fn a_folder_that_replaces_nothing_or_is_not_there_is_refused() {
        assert!(refusal(&[("wellcome.txt", "Hi")]).contains("has none of `welcome.subject.txt`"));
        let missing = Templates::open(Some(Path::new("/nowhere/at/all"))).unwrap_err();
        assert_eq!(missing.to_string(), "cannot read \"/nowhere/at/all\" of --templates");
    }
}
