package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/sigstore/sigstore/pkg/cryptoutils"
)

// passwordVariable has the password of a key that is encrypted, as cosign calls it.
const passwordVariable = "COSIGN_PASSWORD"

// readPrivateKey reads the key that signs: ECDSA on P-256 in PEM, as `openssl genpkey` writes it, or encrypted as
// `cosign generate-key-pair` does.
func readPrivateKey(file, password string) (*ecdsa.PrivateKey, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the key to sign with: %w", err)
	}
	key, err := cryptoutils.UnmarshalPEMToPrivateKey(text, cryptoutils.StaticPasswordFunc([]byte(password)))
	if err != nil {
		hint := ""
		if strings.Contains(string(text), "ENCRYPTED") {
			hint = "; the password of an encrypted key is taken from the variable " + passwordVariable
		}
		return nil, fmt.Errorf("%s is not a private key in PEM that can be read: %w%s", file, err, hint)
	}
	signer, ok := key.(*ecdsa.PrivateKey)
	if !ok || signer.Curve != elliptic.P256() {
		return nil, fmt.Errorf("%s is not a key for ECDSA on P-256: make one with "+
			"openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256", file)
	}
	return signer, nil
}

// readPublicKey reads the key that signatures are checked with.
func readPublicKey(file string) (*ecdsa.PublicKey, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the key to check with: %w", err)
	}
	key, err := cryptoutils.UnmarshalPEMToPublicKey(text)
	if err != nil {
		return nil, fmt.Errorf("%s is not a public key in PEM: %w; openssl pkey -in KEY -pubout prints that of a key",
			file, err)
	}
	public, ok := key.(*ecdsa.PublicKey)
	if !ok || public.Curve != elliptic.P256() {
		return nil, fmt.Errorf("%s is not a public key for ECDSA on P-256", file)
	}
	return public, nil
}

// sign returns the signature of a text in Base64: ECDSA over SHA-256, in ASN.1, as cosign and openssl read it. Without
// random numbers it is that of RFC 6979: a text that is signed again has the same.
func sign(key *ecdsa.PrivateKey, text []byte) (string, error) {
	sum := sha256.Sum256(text)
	signature, err := key.Sign(nil, sum[:], crypto.SHA256)
	if err != nil {
		return "", fmt.Errorf("sign: %w", err)
	}
	return base64.StdEncoding.EncodeToString(signature), nil
}

// errSignature is what checks of signatures end with.
var errSignature = errors.New("the signature is not by this key, or what it signs was changed")

// check returns errSignature unless a signature in Base64 is that of a text by a key.
func check(key *ecdsa.PublicKey, text []byte, signature string) error {
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(signature))
	sum := sha256.Sum256(text)
	if err != nil || !ecdsa.VerifyASN1(key, sum[:], raw) {
		return errSignature
	}
	return nil
}
