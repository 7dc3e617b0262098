package sandbox

import "strings"

// handler answers one operation: it appends the whole body of a 200 answer to
// out, or refuses the request.
type handler func(q *call, out []byte) ([]byte, *apiError)

// route is one operation of the API. In its pattern a segment in braces
// matches any text.
type route struct {
	method  string
	pattern string // below /v3
	handle  handler
	open    bool // needs no credentials
	name    string
}

// router finds routes by method and path.
type router struct{ root routeNode }

type routeNode struct {
	static map[string]*routeNode
	param  *routeNode
	routes map[string]*route // by method
}

func (t *router) add(r route) {
	r.name = r.method + " " + r.pattern
	n := &t.root
	for seg := range strings.SplitSeq(strings.Trim(r.pattern, "/"), "/") {
		if strings.HasPrefix(seg, "{") {
			if n.param == nil {
				n.param = &routeNode{}
			}
			n = n.param
			continue
		}
		if n.static == nil {
			n.static = map[string]*routeNode{}
		}
		if n.static[seg] == nil {
			n.static[seg] = &routeNode{}
		}
		n = n.static[seg]
	}
	if n.routes == nil {
		n.routes = map[string]*route{}
	}
	n.routes[r.method] = &r
}

// find returns the route and what stands for its segments in braces, in their
// order, or nil with known telling whether the path exists under another method. A slash at the end is let pass, as the documents' own
// examples carry it.
func (t *router) find(method, path string) (r *route, params []string, known bool) {
	n := &t.root
	for seg := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		switch next := n.static[seg]; {
		case next != nil:
			n = next
		case n.param != nil && seg != "":
			n, params = n.param, append(params, seg)
		default:
			return nil, nil, false
		}
	}
	return n.routes[method], params, len(n.routes) > 0
}
