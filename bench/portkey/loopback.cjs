// Portkey's start script listens on every address. In the benchmark nothing may be reached from outside.
"use strict";

const { Server } = require("node:net");

const listen = Server.prototype.listen;

Server.prototype.listen = function (port, ...rest) {
  const callbacks = rest.filter((argument) => typeof argument === "function");
  return typeof port === "number" ? listen.call(this, port, "127.0.0.1", ...callbacks) : listen.call(this, port, ...rest);
};
