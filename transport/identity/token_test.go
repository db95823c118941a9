package identity

import (
	"errors"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/rsqld/rsqld/transport/wire/joinpb"
)

// TestToken proves that a token survives being printed, typed in capitals and wrapped in blanks.
func TestToken(t *testing.T) {
	w := newWorld(t)
	token := NewToken(w.authority.Certificate)
	text := token.String()
	if len(text) != len("rsqld1")+26+26+8+3 {
		t.Errorf("a token has %d characters: %s", len(text), text)
	}
	for _, typed := range []string{text, " " + text + "\n", strings.ToUpper(text)} {
		if got := must(ParseToken(typed))(t); got != token {
			t.Errorf("%q gives another token", typed)
		}
	}
	if !token.Matches(w.authority.Certificate.Raw) || token.Matches(w.strangers.Certificate.Raw) {
		t.Error("the fingerprint does not tell the two authorities apart")
	}
	other := NewToken(w.authority.Certificate)
	if token.ID() == other.ID() || token.Key() == other.Key() {
		t.Error("two tokens of one cluster have the same id or key")
	}
}

// TestTokenTypingErrors proves that every single mistyped, lost, doubled or swapped character is noticed, and that the
// error names the part that it is in.
func TestTokenTypingErrors(t *testing.T) {
	text := NewToken(newWorld(t).authority.Certificate).String()
	parts := []string{"begins with", "fingerprint", "secret", "check"}
	for i := range text {
		if text[i] == '-' {
			continue
		}
		part := parts[strings.Count(text[:i], "-")]
		replacement := "a"
		if text[i] == 'a' {
			replacement = "b"
		}
		mistakes := map[string]string{
			"mistyped": text[:i] + replacement + text[i+1:],
			"lost":     text[:i] + text[i+1:],
			"doubled":  text[:i+1] + text[i:],
			"odd":      text[:i] + "0" + text[i+1:],
		}
		if i+1 < len(text) && text[i+1] != '-' && text[i] != text[i+1] {
			mistakes["swapped"] = text[:i] + text[i+1:i+2] + text[i:i+1] + text[i+2:]
		}
		for kind, typed := range mistakes {
			_, err := ParseToken(typed)
			// A mistake in the check itself looks like one in the part it is over.
			if !errors.Is(err, ErrToken) || !strings.Contains(err.Error(), part) {
				t.Errorf("character %d %s: %v, want it to name the %s", i, kind, err, part)
			}
		}
	}
}

// TestTokenRefuses proves that text of another shape is refused with a reason, and that no error repeats the secret.
func TestTokenRefuses(t *testing.T) {
	token := NewToken(newWorld(t).authority.Certificate)
	parts := strings.Split(token.String(), "-")
	tests := map[string]string{
		"": "empty", "   ": "begins with", "rsqld2-a-b-c": "begins with \"rsqld2\"", "-----BEGIN CERTIFICATE-----": "begins with",
		strings.Join(parts[:3], "-"):                                "3 parts",
		token.String() + "-x":                                       "5 parts",
		parts[0] + "-" + parts[2] + "-" + parts[1] + "-" + parts[3]: "several characters were mistyped",
		strings.Repeat("x", 10000):                                  "begins with \"xxxxxxxxxxxxxxxx…\"",
	}
	for text, want := range tests {
		_, err := ParseToken(text)
		if !errors.Is(err, ErrToken) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q", text, err, want)
		} else if strings.Contains(err.Error(), parts[2]) {
			t.Errorf("the error repeats the secret: %v", err)
		}
	}
}

// TestProof proves that a proof is good for its request on its connection alone.
func TestProof(t *testing.T) {
	token := NewToken(newWorld(t).authority.Certificate)
	exporter := []byte(strings.Repeat("e", exporterLength))
	request := &joinpb.JoinRequest{Csr: must(NewRequest())(t).CSR(), Address: "127.0.0.1:4002", Name: "n2"}
	token.Prove(request, exporter)
	if id := token.ID(); string(request.TokenId) != string(id[:]) {
		t.Errorf("the request names token %x", request.TokenId)
	}
	if !VerifyProof(token.Key(), request, exporter) {
		t.Fatal("an honest proof is refused")
	}
	changes := map[string]func(*joinpb.JoinRequest){
		"csr":             func(r *joinpb.JoinRequest) { r.Csr[10] ^= 1 },
		"address":         func(r *joinpb.JoinRequest) { r.Address = "127.0.0.1:4003" },
		"name":            func(r *joinpb.JoinRequest) { r.Name = "n3" },
		"moved border":    func(r *joinpb.JoinRequest) { r.Address, r.Name = r.Address+"n", "2" },
		"learner":         func(r *joinpb.JoinRequest) { r.Learner = true },
		"proof":           func(r *joinpb.JoinRequest) { r.Proof[0] ^= 1 },
		"no proof":        func(r *joinpb.JoinRequest) { r.Proof = nil },
		"half of a proof": func(r *joinpb.JoinRequest) { r.Proof = r.Proof[:16] },
	}
	for name, change := range changes {
		changed := proto.CloneOf(request)
		change(changed)
		if VerifyProof(token.Key(), changed, exporter) {
			t.Errorf("a proof holds for another request: %s", name)
		}
	}
	for name, other := range map[string]string{"another connection": strings.Repeat("f", exporterLength), "none": "", "short": "e", "zero": strings.Repeat("\x00", exporterLength)} {
		token.Prove(request, []byte(other))
		if VerifyProof(token.Key(), request, exporter) {
			t.Errorf("a proof for exporter %s holds", name)
		}
		if name != "another connection" && VerifyProof(token.Key(), request, []byte(other)) {
			t.Errorf("a proof bound to no connection holds: %s", name)
		}
	}
	token.Prove(request, exporter)
	if VerifyProof(NewToken(newWorld(t).authority.Certificate).Key(), request, exporter) {
		t.Error("a proof holds for another token")
	}
}

// FuzzToken proves that no text makes the parser panic, and that an accepted one is printed as it was read.
func FuzzToken(f *testing.F) {
	text := NewToken(newWorld(f).authority.Certificate).String()
	f.Add(text)
	f.Add(strings.ToUpper(text))
	f.Add("rsqld1---")
	f.Add("rsqld1-\xff-\x00-é")
	f.Fuzz(func(t *testing.T, text string) {
		token, err := ParseToken(text)
		if err != nil {
			if !errors.Is(err, ErrToken) {
				t.Errorf("error without its cause: %v", err)
			}
			return
		}
		if got, want := token.String(), strings.ToLower(strings.TrimSpace(text)); got != want {
			t.Errorf("read %q and printed %q", want, got)
		}
	})
}
