//! The words of a pod that ended itself because no driver came: what its containers leave behind for whoever looks at it later.

/// What they begin with.
const HEAD: &str = "no driver came for ";

/// The words after so many seconds.
pub fn words(seconds: u64) -> String {
    format!("{HEAD}{seconds} s")
}

/// Those words in what a container left; none: it ended for another reason.
pub fn read(left: &str) -> Option<&str> {
    Some(left.trim()).filter(|left| left.starts_with(HEAD))
}

#[cfg(test)]
mod tests {
    use super::{read, words};

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(read(&words(20)), Some("no driver came for 20 s"));
        assert_eq!(read("a step's own last words"), None);
    }
}
