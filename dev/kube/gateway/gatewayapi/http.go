package gatewayapi

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"time"

	gw "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/outposts-dev/outposts/dev/kube/gateway/proxy"
)

func (t *translation) httpRoute(object *gw.HTTPRoute) {
	r := route{
		Object: object, kind: "HTTPRoute", parents: object.Spec.ParentRefs, hostnames: lower(object.Spec.Hostnames),
	}
	var routes []proxy.Route
	for i := range object.Spec.Rules {
		added, err := t.httpRule(&r, &object.Spec.Rules[i])
		if err != nil {
			r.refused = problem{string(gw.RouteReasonUnsupportedValue), fmt.Sprintf("rules[%d]: %v", i, err)}
		}
		routes = append(routes, added...)
	}
	attached, status := t.attach(r, object.Status.RouteStatus)
	for _, a := range attached {
		for _, hostname := range a.hostnames {
			for _, route := range routes {
				route.Hostname = hostname
				a.routes = append(a.routes, route)
			}
		}
	}
	if !same(status, object.Status.RouteStatus) {
		changed := object.DeepCopy()
		changed.Status.RouteStatus = status
		t.result.HTTPRoutes = append(t.result.HTTPRoutes, changed)
	}
}

// httpRule returns one route for each match of a rule. What is not supported is an error; what is wrong with backends
// is noted in r.
func (t *translation) httpRule(r *route, spec *gw.HTTPRouteRule) ([]proxy.Route, error) {
	rule := &proxy.Rule{}
	var err error
	if rule.Filters, err = t.filters(r, spec.Filters); err != nil {
		return nil, err
	}
	for _, ref := range spec.BackendRefs {
		b, p := t.backend(r.kind, r.GetNamespace(), ref.BackendObjectReference, ref.Weight)
		if p.is() && !r.unresolved.is() {
			r.unresolved = p
		}
		if b.Filters, err = t.filters(r, ref.Filters); err != nil {
			return nil, err
		}
		if b.Filters.Redirect != nil {
			return nil, errors.New("a filter RequestRedirect of a backend is not supported")
		}
		rule.Backends = append(rule.Backends, b)
	}
	if spec.Timeouts != nil {
		rule.RequestTimeout, err = duration(spec.Timeouts.Request)
		if err != nil {
			return nil, err
		}
		if rule.BackendTimeout, err = duration(spec.Timeouts.BackendRequest); err != nil {
			return nil, err
		}
	}
	matches := spec.Matches
	if len(matches) == 0 {
		matches = []gw.HTTPRouteMatch{{}}
	}
	var routes []proxy.Route
	for _, match := range matches {
		m, err := httpMatch(match)
		if err != nil {
			return nil, err
		}
		routes = append(routes, proxy.Route{Match: m, Rule: rule})
	}
	return routes, nil
}

// duration reads one of the Gateway API, whose syntax is a part of Go's.
func duration(text *gw.Duration) (time.Duration, error) {
	if text == nil {
		return 0, nil
	}
	return time.ParseDuration(string(*text))
}

func httpMatch(spec gw.HTTPRouteMatch) (proxy.Match, error) {
	m := proxy.Match{Path: proxy.PathMatch{Value: "/"}}
	if spec.Path != nil {
		if spec.Path.Value != nil {
			m.Path.Value = *spec.Path.Value
		}
		switch kind := spec.Path.Type; {
		case kind == nil || *kind == gw.PathMatchPathPrefix:
		case *kind == gw.PathMatchExact:
			m.Path.Exact = true
		default:
			var err error
			if m.Path.Pattern, err = whole(m.Path.Value); err != nil {
				return m, err
			}
		}
	}
	if spec.Method != nil {
		m.Method = string(*spec.Method)
	}
	for _, h := range spec.Headers {
		value, err := valueMatch(h.Name, h.Value, h.Type != nil && *h.Type != gw.HeaderMatchExact)
		if err != nil {
			return m, err
		}
		m.Headers = append(m.Headers, value)
	}
	for _, q := range spec.QueryParams {
		value, err := valueMatch(q.Name, q.Value, q.Type != nil && *q.Type != gw.QueryParamMatchExact)
		if err != nil {
			return m, err
		}
		m.Query = append(m.Query, value)
	}
	return m, nil
}

func valueMatch(name gw.HTTPHeaderName, value string, pattern bool) (proxy.ValueMatch, error) {
	m := proxy.ValueMatch{Name: string(name), Value: value}
	if !pattern {
		return m, nil
	}
	var err error
	m.Pattern, err = whole(value)
	return m, err
}

func whole(pattern string) (*regexp.Regexp, error) { return regexp.Compile("^(?:" + pattern + ")$") }

// filters reads the filters of a rule or of a backend.
func (t *translation) filters(r *route, specs []gw.HTTPRouteFilter) (proxy.Filters, error) {
	var f proxy.Filters
	for _, spec := range specs {
		switch spec.Type {
		case gw.HTTPRouteFilterRequestHeaderModifier:
			f.Request = headerEdit(spec.RequestHeaderModifier)
		case gw.HTTPRouteFilterResponseHeaderModifier:
			f.Response = headerEdit(spec.ResponseHeaderModifier)
		case gw.HTTPRouteFilterRequestRedirect:
			f.Redirect = redirect(spec.RequestRedirect)
		case gw.HTTPRouteFilterURLRewrite:
			f.Rewrite = &proxy.Rewrite{Path: pathEdit(spec.URLRewrite.Path)}
			if spec.URLRewrite.Hostname != nil {
				f.Rewrite.Hostname = string(*spec.URLRewrite.Hostname)
			}
		case gw.HTTPRouteFilterRequestMirror:
			f.Mirrors = append(f.Mirrors, t.mirror(r, spec.RequestMirror))
		default:
			return f, fmt.Errorf("a filter %s is not supported", spec.Type)
		}
	}
	return f, nil
}

func headerEdit(spec *gw.HTTPHeaderFilter) proxy.HeaderEdit {
	edit := proxy.HeaderEdit{Remove: spec.Remove}
	for _, h := range spec.Set {
		edit.Set = append(edit.Set, proxy.Header{Name: string(h.Name), Value: h.Value})
	}
	for _, h := range spec.Add {
		edit.Add = append(edit.Add, proxy.Header{Name: string(h.Name), Value: h.Value})
	}
	return edit
}

func pathEdit(spec *gw.HTTPPathModifier) *proxy.PathEdit {
	switch {
	case spec == nil:
		return nil
	case spec.Type == gw.PrefixMatchHTTPPathModifier && spec.ReplacePrefixMatch != nil:
		return &proxy.PathEdit{Prefix: true, Value: *spec.ReplacePrefixMatch}
	case spec.ReplaceFullPath != nil:
		return &proxy.PathEdit{Value: *spec.ReplaceFullPath}
	}
	return nil
}

func redirect(spec *gw.HTTPRequestRedirectFilter) *proxy.Redirect {
	to := &proxy.Redirect{Status: http.StatusFound, Path: pathEdit(spec.Path)}
	if spec.Scheme != nil {
		to.Scheme = *spec.Scheme
	}
	if spec.Hostname != nil {
		to.Hostname = string(*spec.Hostname)
	}
	if spec.Port != nil {
		to.Port = int(*spec.Port)
	}
	if spec.StatusCode != nil {
		to.Status = *spec.StatusCode
	}
	return to
}

func (t *translation) mirror(r *route, spec *gw.HTTPRequestMirrorFilter) proxy.Mirror {
	b, p := t.backend(r.kind, r.GetNamespace(), spec.BackendRef, nil)
	if p.is() && !r.unresolved.is() {
		r.unresolved = p
	}
	m := proxy.Mirror{Backend: b, Numerator: 1, Denominator: 1}
	switch {
	case spec.Percent != nil:
		m.Numerator, m.Denominator = int(*spec.Percent), 100
	case spec.Fraction != nil:
		m.Numerator, m.Denominator = int(spec.Fraction.Numerator), 100
		if spec.Fraction.Denominator != nil {
			m.Denominator = int(*spec.Fraction.Denominator)
		}
	}
	return m
}
