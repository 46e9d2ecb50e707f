//! Which images are runnable: one.

use pontoon_runtime::RuntimeError;

/// The image that stands for the node's own file system.
const HOST: &str = "host";

/// The reference's exact name, or why it cannot be run, with the way out.
pub(super) fn judge(image: &str) -> Result<String, RuntimeError> {
    if image == HOST {
        return Ok(HOST.to_owned());
    }
    let invalid = |message: &str| {
        Err(RuntimeError::InvalidImageName {
            image: image.to_owned(),
            message: message.to_owned(),
        })
    };
    if image.is_empty() || image.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return invalid(
            "a reference is not empty and has no spaces; a program of the node itself is image: host",
        );
    }
    if image.eq_ignore_ascii_case(HOST) || image.starts_with("host:") || image.starts_with("host@")
    {
        return invalid(
            "a program of the node itself is written image: host, in lower case and without a tag",
        );
    }
    let message = if image.starts_with("oci:") || image.starts_with("oci-archive:") {
        "the process runtime does not unpack OCI layouts; use image: host, or a RuntimeClass of docker or containerd"
    } else {
        "the process runtime pulls no images: to run a program of the node itself write image: host and name the \
         program in command; to run this image choose a RuntimeClass of docker or containerd"
    };
    Err(RuntimeError::ImageNotFound {
        image: image.to_owned(),
        message: message.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_refusal_names_the_way_out() {
        assert_eq!(judge("host").unwrap(), "host");
        for image in ["", "a b", "Host", "host:latest"] {
            let error = judge(image).unwrap_err();
            assert!(
                matches!(error, RuntimeError::InvalidImageName { .. }),
                "{error:?}"
            );
            assert!(error.to_string().contains("image: host"), "{error}");
        }
        for image in [
            "nginx",
            "docker.io/library/redis:7",
            "oci:/srv/app",
            "oci-archive:/srv/app.tar",
        ] {
            let error = judge(image).unwrap_err();
            assert!(
                matches!(error, RuntimeError::ImageNotFound { .. }),
                "{error:?}"
            );
            assert!(error.to_string().contains("image: host"), "{error}");
        }
    }
}
