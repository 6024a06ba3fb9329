// A site that is not ours: an edge node made with the published client, told what to send in one JSON argument.
const sparkplug = require('sparkplug-client');

const told = JSON.parse(process.argv[2]);
const client = sparkplug.newClient(told.client);
const at = (metrics) => ({ timestamp: Date.now(), metrics });
let timer;

client.on('birth', () => {
  console.log('birth');
  client.publishNodeBirth(at(told.node.slice()));
  for (const [device, metrics] of Object.entries(told.devices)) client.publishDeviceBirth(device, at(metrics.slice()));
  clearInterval(timer);
  timer = setInterval(() => {
    client.publishNodeData(at(told.node.slice()));
    for (const [device, metrics] of Object.entries(told.devices)) client.publishDeviceData(device, at(metrics.slice()));
  }, 200);
});
client.on('ncmd', (payload) => {
  console.log('ncmd ' + payload.metrics.map((metric) => metric.name).join(' '));
  if (payload.metrics.some((metric) => metric.name === 'Node Control/Rebirth' && metric.value)) client.emit('birth');
});
client.on('error', (error) => console.log('error ' + error));
process.on('SIGTERM', () => { clearInterval(timer); client.stop(); setTimeout(() => process.exit(0), 300); });
