//! Why nobody was reached, in our words: the system's own could quote the address.

use std::{error::Error, io};

use rustls::CertificateError;

/// The class of what kept a connection from being made.
pub(super) fn of(error: &reqwest::Error) -> &'static str {
    let mut source: Option<&(dyn Error + 'static)> = error.source();
    let mut broken = None;
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<rustls::Error>() {
            return of_tls(error);
        }
        // The resolver's error has no kind of its own.
        if error.to_string() == "dns error" {
            return "its name cannot be resolved";
        }
        if let Some(error) = error.downcast_ref::<io::Error>() {
            broken = Some(error.kind());
            // What stands inside an error of this kind is not its source.
            source = error.get_ref().map(|inner| inner as &(dyn Error + 'static));
            continue;
        }
        source = error.source();
    }
    match broken {
        Some(io::ErrorKind::ConnectionRefused) => "connection refused",
        Some(io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted) => "connection reset",
        Some(io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable) => "no way there",
        Some(io::ErrorKind::UnexpectedEof) => "connection closed",
        Some(io::ErrorKind::TimedOut) => "timed out",
        _ if error.is_timeout() => "timed out",
        _ => "the connection failed",
    }
}

fn of_tls(error: &rustls::Error) -> &'static str {
    match error {
        rustls::Error::InvalidCertificate(why) => match why {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "its certificate has expired"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "its certificate is for another name"
            }
            CertificateError::UnknownIssuer => "its certificate is of no authority that this machine trusts",
            _ => "its certificate is not valid",
        },
        rustls::Error::InvalidMessage(_) => "it does not speak TLS there",
        _ => "TLS failed",
    }
}
