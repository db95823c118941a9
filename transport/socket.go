package transport

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
)

// receiveBuffer is how many bytes of datagrams the kernel should hold for the socket, and what QUIC asks it for: what
// arrives while the node is not scheduled must not be lost.
const receiveBuffer = 7 << 20

func init() {
	// QUIC's own warning goes past the node's log; checkBuffer says the same there. Setting a variable of the own process
	// fails only for names that are none.
	if err := os.Setenv("QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING", "true"); err != nil {
		panic(err)
	}
}

// listenUDP opens the socket of a node.
func listenUDP(address string) (net.PacketConn, error) {
	resolved, err := net.ResolveUDPAddr("udp", address)
	if err != nil {
		return nil, fmt.Errorf("listening on %q: %w", address, err)
	}
	conn, err := net.ListenUDP("udp", resolved)
	if err != nil {
		return nil, fmt.Errorf("listening on %s (UDP): %w", address, err)
	}
	return conn, nil
}

// checkBuffer says what to do if the kernel gave the socket a smaller receive buffer than QUIC asked it for.
func checkBuffer(conn net.PacketConn, log *slog.Logger) {
	udp, ok := conn.(*net.UDPConn)
	if !ok {
		return
	}
	if size := bufferSize(udp); size < receiveBuffer {
		log.Info("the kernel gave the socket a small receive buffer: packets may be lost under load; set "+bufferSysctl,
			"bytes", size, "wanted", receiveBuffer)
	}
}

// dialledSocket is a UDP socket that talks to one address. Unlike a socket for all, it hears from the kernel when no
// process listens there, so that a dead node on a live machine is noticed at once.
type dialledSocket struct {
	*net.UDPConn
	refused atomic.Bool // the kernel said so while a packet was sent
}

func dialSocket(address netip.AddrPort) (*dialledSocket, error) {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(address))
	if err != nil {
		return nil, fmt.Errorf("opening a socket to %s: %w", address, err)
	}
	return &dialledSocket{UDPConn: conn}, nil
}

// WriteTo implements net.PacketConn. The address can only be the one that the socket is for.
func (s *dialledSocket) WriteTo(p []byte, _ net.Addr) (int, error) {
	n, err := s.UDPConn.Write(p)
	return n, s.note(err)
}

// WriteMsgUDP implements quic.OOBCapablePacketConn.
func (s *dialledSocket) WriteMsgUDP(p, oob []byte, _ *net.UDPAddr) (n, oobn int, err error) {
	n, oobn, err = s.UDPConn.WriteMsgUDP(p, oob, nil)
	return n, oobn, s.note(err)
}

func (s *dialledSocket) note(err error) error {
	if isRefused(err) {
		s.refused.Store(true)
	}
	return err
}

// resolve returns the addresses of host:port, IPv4 first: a node listens there by default.
func resolve(ctx context.Context, address string) ([]netip.AddrPort, error) {
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("address %q is not host:port: %w", address, err)
	}
	port, err := net.DefaultResolver.LookupPort(ctx, "udp", service)
	if err != nil {
		return nil, fmt.Errorf("address %q: %w", address, err)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, fmt.Errorf("address %q: %w", address, err)
	}
	var four, six []netip.AddrPort
	for _, ip := range ips {
		if ip = ip.Unmap(); ip.Is4() {
			four = append(four, netip.AddrPortFrom(ip, uint16(port)))
		} else {
			six = append(six, netip.AddrPortFrom(ip, uint16(port)))
		}
	}
	return append(four, six...), nil
}
