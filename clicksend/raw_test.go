package clicksend

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
)

// rawServer is a TCP server whose every connection is played by a function.
// It counts connections, bytes, and whole requests by their first custom
// string or, without one, by method and path.
type rawServer struct {
	t        *testing.T
	listener net.Listener
	play     func(*rawConn)
	done     sync.WaitGroup

	mu       sync.Mutex
	conns    []*rawConn
	requests map[string]int
}

type rawConn struct {
	*net.TCPConn
	server *rawServer
	number int // of the connection, from 1
	reader *bufio.Reader
	bytes  int64
}

func newRawServer(t *testing.T, play func(*rawConn)) *rawServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &rawServer{t: t, listener: l, play: play, requests: map[string]int{}}
	s.done.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			c := &rawConn{TCPConn: conn.(*net.TCPConn), server: s, number: len(s.conns) + 1}
			c.reader = bufio.NewReader(counter{c})
			s.conns = append(s.conns, c)
			s.mu.Unlock()
			s.done.Go(func() {
				defer c.Close()
				s.play(c)
			})
		}
	})
	t.Cleanup(s.stop)
	return s
}

// stop ends the server and waits for its connections.
func (s *rawServer) stop() {
	s.listener.Close()
	s.mu.Lock()
	for _, c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	s.done.Wait()
}

func (s *rawServer) url() string { return "http://" + s.listener.Addr().String() + "/v3" }

// seen is how often each request arrived whole.
func (s *rawServer) seen() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string]int{}
	for k, v := range s.requests {
		out[k] = v
	}
	return out
}

func (s *rawServer) connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// received is how many bytes all connections have read.
func (s *rawServer) received() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	var n int64
	for _, c := range s.conns {
		n += c.bytes
	}
	return n
}

type counter struct{ c *rawConn }

func (r counter) Read(p []byte) (int, error) {
	n, err := r.c.TCPConn.Read(p)
	r.c.server.mu.Lock()
	r.c.bytes += int64(n)
	r.c.server.mu.Unlock()
	return n, err
}

// request reads one whole request and counts it; false when none came.
func (c *rawConn) request() bool {
	req, err := http.ReadRequest(c.reader)
	if err != nil {
		return false
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return false
	}
	name := req.Method + " " + req.URL.Path
	var sent struct {
		Messages []struct {
			Ref string `json:"custom_string"`
		} `json:"messages"`
	}
	if json.Unmarshal(body, &sent) == nil && len(sent.Messages) > 0 {
		name = sent.Messages[0].Ref
	}
	c.server.mu.Lock()
	c.server.requests[name]++
	c.server.mu.Unlock()
	return true
}

func (c *rawConn) write(s string) { _, _ = io.WriteString(c.TCPConn, s) }

// answer writes a whole answer of 200.
func (c *rawConn) answer() { c.write(wholeAnswer) }

const answerBody = `{"http_code":200,"response_code":"SUCCESS","data":{"messages":[{"status":"SUCCESS"}]}}`

var wholeAnswer = fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(answerBody), answerBody)

// reset closes the connection with a RST.
func (c *rawConn) reset() {
	_ = c.SetLinger(0)
	_ = c.Close()
}
