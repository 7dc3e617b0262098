package clicksend

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
)

func thousand() []SMSMessage {
	messages := make([]SMSMessage, MaxMessages)
	for i := range messages {
		messages[i] = SMSMessage{
			To: fmt.Sprintf("+614%08d", i), From: "ACME", CustomString: fmt.Sprintf("q7k2m9x0%08d01", i),
			Body: fmt.Sprintf("Hi customer %d, our summer sale starts on Friday. Show this message for 20%% off. Reply STOP to opt out.", i),
		}
	}
	return messages
}

func thousandAnswer() string {
	rows := make([]string, 0, MaxMessages)
	for i, m := range thousand() {
		rows = append(rows, fmt.Sprintf(`{"direction":"out","date":1436871253,"to":%q,"body":%q,"from":%q,"schedule":"","message_id":"BF7AD270-0DE2-418B-B606-%012d","message_parts":1,"message_price":"0.0700","custom_string":%q,"user_id":1,"subaccount_id":1,"country":"AU","carrier":"Telstra","status":"SUCCESS"}`, m.To, m.Body, m.From, i, m.CustomString))
	}
	return `{"http_code":200,"response_code":"SUCCESS","response_msg":"Here are your data.","data":{"total_price":70,"total_count":1000,"queued_count":1000,"messages":[` + strings.Join(rows, ",") + `],"_currency":{"currency_name_short":"AUD"}}}`
}

// BenchmarkEncode1000 writes a request of 1,000 messages.
func BenchmarkEncode1000(b *testing.B) {
	messages := thousand()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := json.Marshal(struct {
			Messages []SMSMessage `json:"messages"`
		}{messages}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*MaxMessages/b.Elapsed().Seconds(), "messages/s")
}

// BenchmarkDecode1000 reads the answer to 1,000 messages, as far as the
// outcomes.
func BenchmarkDecode1000(b *testing.B) {
	answer := []byte(thousandAnswer())
	b.SetBytes(int64(len(answer)))
	b.ReportAllocs()
	for b.Loop() {
		env, err := readEnvelope(answer, false)
		if err != nil {
			b.Fatal(err)
		}
		var res SMSResult
		if err := decodeResult(&res)(env.Data); err != nil || len(res.Rows) != MaxMessages || len(res.Rows[0].Unread) != 0 {
			b.Fatal(err)
		}
		if len(res.Outcomes()) != MaxMessages {
			b.Fatal("outcomes are missing")
		}
	}
	b.ReportMetric(float64(b.N)*MaxMessages/b.Elapsed().Seconds(), "messages/s")
}

// BenchmarkSend1000 sends 1,000 messages to a server on the same machine that
// answers at once.
func BenchmarkSend1000(b *testing.B) {
	answer := thousandAnswer()
	server := newBenchServer(b, answer)
	c, err := New(Config{BaseURL: server, Username: testUser, APIKey: testKey})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	messages := thousand()
	for b.Loop() {
		if _, err := c.SMS.Send(b.Context(), messages); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*MaxMessages/b.Elapsed().Seconds(), "messages/s")
}

func newBenchServer(b *testing.B, answer string) string {
	return startServer(b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, answer)
	})) + "/v3"
}
