# The part of the gem rabbitmq_http_api_client that bunny's tests use.
require "cgi"
require "json"
require "net/http"
require "ostruct"

module RabbitMQ
  module HTTP
    class Client
      def initialize(uri)
        @uri = URI(uri)
      end

      def list_connections = list("connections")
      def list_channels = list("channels")
      def list_exchanges(vhost) = list("exchanges/#{CGI.escape(vhost)}")
      def list_queues = list("queues")

      def close_connection(name)
        request(Net::HTTP::Delete.new("/api/connections/#{CGI.escape(name).gsub("+", "%20")}"))
      end

      private

      def list(path)
        JSON.parse(request(Net::HTTP::Get.new("/api/#{path}")).body).map { |each| OpenStruct.new(each) }
      end

      def request(request)
        request.basic_auth("guest", "guest")
        Net::HTTP.start(@uri.host, @uri.port) { |http| http.request(request) }
      end
    end
  end
end
