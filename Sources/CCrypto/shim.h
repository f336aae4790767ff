// The hashes alone. OpenSSL 3 would have them called through EVP_*, which first starts the whole library: providers, threads, /etc/ssl/openssl.cnf.
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>
