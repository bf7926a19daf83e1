package deployed

import (
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/outposts-dev/outposts/e2e/sshkey"
)

// MakeSecret makes a Secret.
func (c Cluster) MakeSecret(t testing.TB, namespace, name string, data map[string]string) {
	t.Helper()
	made := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, StringData: data}
	if _, err := c.API.CoreV1().Secrets(namespace).Create(t.Context(), made, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// NewKey makes an SSH key: the private one as OpenSSH writes it, for a Secret, and the line of the public one.
func NewKey(t testing.TB) (private, public string) {
	t.Helper()
	signer, text, err := sshkey.New()
	if err != nil {
		t.Fatal(err)
	}
	return string(text), strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey())))
}
