package transport

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"

	"github.com/quic-go/quic-go"
)

// Causes of errors. The messages that wrap them say what was tried with whom.
var (
	// ErrClosed says that the endpoint, connection or stream was closed at this end.
	ErrClosed = errors.New("closed at this end")
	// ErrUnreachable says that nobody answers at an address. Nothing was sent that could have been executed.
	ErrUnreachable = errors.New("nobody answers")
	// ErrNotConnected says that there is no connection with a peer at the moment.
	ErrNotConnected = errors.New("not connected")
	// ErrLost says that a connection that stood is gone. What was sent on it may have arrived or not.
	ErrLost = errors.New("connection lost")
	// ErrRefused says that the other end wants nothing from this one: its certificate, version or number of
	// connections. Its log says why.
	ErrRefused = errors.New("refused by the other end")
	// ErrCancelled says that a stream was cancelled while its connection stands.
	ErrCancelled = errors.New("stream cancelled")
	// ErrFirstFrame says that the first frame of a stream did not arrive whole in time.
	ErrFirstFrame = errors.New("the first frame of the stream did not arrive in time")
	// ErrFingerprint says that the node that answered a join is of another cluster than the token. Nothing was sent to it.
	ErrFingerprint = errors.New("the node that answered is of another cluster than the token")
	// ErrKeyRefused says that a peer could not make the authority's key durable.
	ErrKeyRefused = errors.New("the peer did not store the authority's key")
	// ErrSnapshotRefused says that a peer did not want a snapshot, or could not install it.
	ErrSnapshotRefused = errors.New("the peer did not install the snapshot")
)

// code is the reason that a connection is closed with. Other versions send and read them: a number keeps its meaning.
type code = quic.ApplicationErrorCode

const (
	codeClosing   code = iota // the sender closes in good order
	codeDuplicate             // the pair has a better connection
	codeMismatch              // version, fingerprint, cluster or name do not fit
	codeProtocol              // the other end sent what makes no sense
	codeDropped               // the peer is no member any more
	codeBusy                  // a limit is reached
	codeSilence               // nothing was heard for too long
)

// Codes that streams are cancelled with. A session may use others.
const (
	streamClosed  quic.StreamErrorCode = iota // the sender has no more interest in the stream
	streamClosing                             // the sender's node closes
)

// explain turns an error of QUIC into one of this package's, in words for the reader of a log.
func explain(err error) error {
	var (
		application *quic.ApplicationError
		transport   *quic.TransportError
		stream      *quic.StreamError
		reset       *quic.StatelessResetError
		idle        *quic.IdleTimeoutError
		handshake   *quic.HandshakeTimeoutError
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &application):
		return explainClose(application)
	case errors.As(err, &stream):
		if !stream.Remote {
			return ErrClosed
		}
		return fmt.Errorf("%w by the other end with code %d", ErrCancelled, stream.ErrorCode)
	case isRefused(err):
		return fmt.Errorf("%w: no process listens at its address any more", ErrLost)
	case errors.As(err, &reset):
		return fmt.Errorf("%w: the other end was restarted", ErrLost)
	case errors.As(err, &idle):
		return fmt.Errorf("%w: nothing was heard from the other end for too long", ErrLost)
	case errors.As(err, &handshake):
		return fmt.Errorf("%w: no handshake in time", ErrUnreachable)
	case errors.As(err, &transport):
		return explainTransport(transport)
	case errors.Is(err, quic.ErrTransportClosed), errors.Is(err, quic.ErrStreamClosed), errors.Is(err, quic.ErrServerClosed):
		return ErrClosed
	case errors.Is(err, os.ErrDeadlineExceeded):
		return ErrFirstFrame
	}
	return err
}

func explainClose(err *quic.ApplicationError) error {
	switch {
	case !err.Remote && err.ErrorCode == codeClosing:
		return ErrClosed
	case err.ErrorCode == codeDuplicate:
		return errDuplicate
	case !err.Remote || err.ErrorCode == codeClosing || err.ErrorCode == codeSilence:
		return fmt.Errorf("%w: %s", ErrLost, err.ErrorMessage)
	}
	return fmt.Errorf("%w: %s", ErrRefused, err.ErrorMessage)
}

// explainTransport tells apart who refused whom in a handshake.
func explainTransport(err *quic.TransportError) error {
	alert, isAlert := alertOf(err)
	switch {
	case isAlert && err.Remote:
		return fmt.Errorf("%w: it does not accept the certificate or protocol of this end (%v); its log says why", ErrRefused, alert)
	case isAlert:
		return innermost(err)
	case err.ErrorCode == quic.ConnectionRefused && err.Remote:
		return fmt.Errorf("%w: it has too many connections being made at once, or is closing; try again", ErrRefused)
	case err.ErrorCode == quic.ConnectionRefused:
		return ErrClosed
	}
	return fmt.Errorf("%w: %w", ErrLost, err)
}

// alertOf returns the TLS alert in an error of the handshake (RFC 9001 §4.8: codes 0x100 to 0x1ff).
func alertOf(err *quic.TransportError) (tls.AlertError, bool) {
	const first = 0x100
	return tls.AlertError(err.ErrorCode & 0xff), err.ErrorCode >= first && err.ErrorCode < first+0x100
}

// innermost returns what a verification of this end said, without the words that QUIC puts around it.
func innermost(err *quic.TransportError) error {
	for _, inner := range err.Unwrap() {
		if inner != nil && !errors.Is(inner, os.ErrClosed) && inner.Error() != "use of closed network connection" {
			return inner
		}
	}
	return err
}

// errDuplicate says that a connection ended because the pair has a better one.
var errDuplicate = fmt.Errorf("%w: the two nodes have another one", ErrLost)
