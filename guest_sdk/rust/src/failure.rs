//! What a handler returns when it cannot do its work.

use std::error::Error;
use std::fmt;
use std::panic::Location;

/// What handlers return.
pub type Result<T = ()> = std::result::Result<T, Failure>;

/// Any error, with the line of the `?` that passed it on. The SDK logs it, and that message is not handled further.
///
/// It is made of every error by `?`; of a text by [`fail`].
pub struct Failure {
    error: Box<dyn Error>,
    at: &'static Location<'static>,
}

impl Failure {
    /// The error, if it is of that type.
    pub fn downcast_ref<E: Error + 'static>(&self) -> Option<&E> {
        self.error.downcast_ref()
    }

    /// Where it was passed on: the file and its line.
    pub fn location(&self) -> &'static Location<'static> {
        self.at
    }
}

impl<E: Error + 'static> From<E> for Failure {
    #[track_caller]
    fn from(error: E) -> Self {
        Self { error: Box::new(error), at: Location::caller() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.error)?;
        let mut cause = self.error.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// With the place first, as compilers do.
impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {self}", self.at.file(), self.at.line())
    }
}

#[derive(Debug)]
struct Text(String);

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Text {}

/// A failure that says this: `return Err(fail("there is no such room"))`.
#[track_caller]
pub fn fail(text: impl Into<String>) -> Failure {
    Text(text.into()).into()
}

/// Log what a handler returned instead of its result.
pub(crate) fn log_failure(handler: &str, failure: &Failure) {
    log::error!("{handler} failed: {failure:?}");
}
