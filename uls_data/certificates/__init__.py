"""Which masks to keep so that a promise about their risk holds, and the paper that says so."""

from uls_data.certificates.certificate import Certificate, read_certificate
from uls_data.certificates.certification import CertifyReport, certify
from uls_data.certificates.marking import Marks, mark

__all__ = ["Certificate", "CertifyReport", "Marks", "certify", "mark", "read_certificate"]
