package cli

import (
	"github.com/spf13/cobra"

	"github.com/serin-mesh/serin/internal/view"
)

func (a *app) gateway() *cobra.Command {
	c := &cobra.Command{
		Use: "gateway", Aliases: []string{"gateways", "gw"}, Short: "List gateways, and move them without losing a request",
		Long: `How a gateway can move depends on how it came to be, which serin tells by what is there, not by names:

  helm      a release of Istio's gateway chart, injected
  in-place  injected, from anything else
  rendered  the proxy's image is in its template, as istioctl and IstioOperator files render it
  managed   istiod makes it, of a Gateway of the Gateway API; waypoints are such
  unknown   a Gateway selects it and nothing else says that it is one: a question

The examples move one of shape helm by a canary behind the same Service, whose identity, addresses and ports
never change.`,
		Example: `  serin gateway add istio-ingress --revision 1-29-1
  serin gateway test istio-ingress-1-29-1
  serin gateway shift istio-ingress-1-29-1 --to 1
  serin gateway shift istio-ingress-1-29-1 --to 100%
  serin gateway drain istio-ingress
  serin gateway logs istio-ingress -f
  serin gateway renew istio-ingress
  serin gateway restore istio-ingress
  serin gateway remove istio-ingress-1-29-1`,
	}
	c.AddCommand(a.gatewayList(), a.gatewayTest(), a.gatewayLogs())
	for _, v := range gatewayVerbs() {
		c.AddCommand(a.gatewayMove(v))
	}
	return c
}

func (a *app) gatewayList() *cobra.Command {
	var out string
	c := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Args: noArgs,
		Short: "List gateways: shape, addresses, what they serve, run and follow, and what an upgrade would make of them",
		RunE: func(c *cobra.Command, _ []string) error {
			o, err := parseOutput(out, view.Text, view.JSON, view.YAML)
			if err != nil {
				return err
			}
			s, err := a.observe(c.Context())
			if err != nil {
				return err
			}
			return view.Gateways(a.io.Out, s, a.target.namespace(), o.format)
		},
	}
	c.Flags().StringVarP(&out, "output", "o", "text", "Output format: text, json or yaml")
	return c
}
