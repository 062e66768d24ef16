package envoy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// Dump is an answer of /config_dump.
type Dump struct {
	sections map[string]map[string]any // by the type's short name
}

// Parse reads an answer of /config_dump.
func Parse(text []byte) (Dump, error) {
	var doc struct {
		Configs []map[string]any `json:"configs"`
	}
	if err := decode(text, &doc); err != nil {
		return Dump{}, fmt.Errorf("reading the proxy's config dump: %w", err)
	}
	if doc.Configs == nil {
		return Dump{}, fmt.Errorf("reading the proxy's config dump: it has no configs, it begins with %.60q", text)
	}
	d := Dump{sections: map[string]map[string]any{}}
	for _, c := range doc.Configs {
		url, _ := c["@type"].(string)
		d.sections[url[strings.LastIndexByte(url, '.')+1:]] = c
	}
	return d, nil
}

// decode keeps numbers as they were written.
func decode(text []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	return dec.Decode(into)
}

// section is the part of the dump of that type.
func (d Dump) section(name string) (map[string]any, error) {
	s, ok := d.sections[name]
	if !ok {
		return nil, fmt.Errorf("the proxy's config dump has no %s", name)
	}
	return s, nil
}

// field is a field by its name as protobuf writes it: Envoy's admin port keeps
// the underscores, other writers do not.
func field(m map[string]any, name string) any {
	if v, ok := m[name]; ok {
		return v
	}
	parts := strings.Split(name, "_")
	for i, p := range parts[1:] {
		parts[i+1] = strings.ToUpper(p[:1]) + p[1:]
	}
	return m[strings.Join(parts, "")]
}

// inside walks through fields of objects.
func inside(v any, names ...string) map[string]any {
	for _, n := range names {
		m, _ := v.(map[string]any)
		v = field(m, n)
	}
	m, _ := v.(map[string]any)
	return m
}

// objects are the elements of a list that are objects.
func objects(v any) []map[string]any {
	list, _ := v.([]any)
	out := make([]map[string]any, 0, len(list))
	for _, e := range list {
		if m, ok := e.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}

// into reads an object of the dump as a message.
func into(object map[string]any, m proto.Message) error {
	bare := make(map[string]any, len(object))
	for k, v := range object {
		if k != "@type" {
			bare[k] = v
		}
	}
	text, err := json.Marshal(bare)
	if err != nil {
		return err
	}
	return protojson.UnmarshalOptions{DiscardUnknown: true, AllowPartial: true, Resolver: lenient{protoregistry.GlobalTypes}}.Unmarshal(text, m)
}

// lenient resolves a type that is not linked in as a message without fields, so
// that what stands around it can be read.
type lenient struct{ *protoregistry.Types }

// FindMessageByURL implements protoregistry.MessageTypeResolver.
func (l lenient) FindMessageByURL(url string) (protoreflect.MessageType, error) {
	if t, err := l.Types.FindMessageByURL(url); err == nil {
		return t, nil
	}
	return (&core.AggregatedConfigSource{}).ProtoReflect().Type(), nil
}

// canonical writes an object of the dump as protobuf's JSON has it, with the field
// names of the message: Envoy's admin port writes dynamic_listeners, istioctl and
// everybody's scripts dynamicListeners. Keys of maps, and what is inside of a type
// that is not linked in, stay as they are.
func canonical(v any, d protoreflect.MessageDescriptor) any {
	m, ok := v.(map[string]any)
	if !ok || d == nil || strings.HasPrefix(string(d.FullName()), "google.protobuf.") && d.FullName() != "google.protobuf.Any" {
		return v
	}
	if url, ok := m["@type"].(string); ok {
		t, err := protoregistry.GlobalTypes.FindMessageByURL(url)
		if err != nil {
			return v
		}
		d = t.Descriptor()
	}
	out := make(map[string]any, len(m))
	for k, value := range m {
		f := d.Fields().ByName(protoreflect.Name(k))
		if f == nil {
			f = d.Fields().ByJSONName(k)
		}
		if f == nil {
			out[k] = value
			continue
		}
		out[f.JSONName()] = canonicalField(value, f)
	}
	return out
}

func canonicalField(v any, f protoreflect.FieldDescriptor) any {
	of := f.Message()
	if f.IsMap() {
		m, _ := v.(map[string]any)
		out := make(map[string]any, len(m))
		for k, e := range m {
			out[k] = canonical(e, f.MapValue().Message())
		}
		return out
	}
	if list, ok := v.([]any); ok && f.IsList() {
		out := make([]any, len(list))
		for i, e := range list {
			out[i] = canonical(e, of)
		}
		return out
	}
	return canonical(v, of)
}

// document is an object of the dump under its canonical names, without its type.
func document(object map[string]any, m proto.Message) map[string]any {
	out, _ := canonical(object, m.ProtoReflect().Descriptor()).(map[string]any)
	delete(out, "@type")
	return out
}
